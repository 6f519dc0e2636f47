"""The standard library's ``multiprocessing.queues``, under our name."""

from manyhands._facade import alias

alias(__name__, "multiprocessing.queues")
