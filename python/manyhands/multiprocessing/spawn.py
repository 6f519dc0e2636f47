"""The standard library's ``multiprocessing.spawn``, under our name."""

from manyhands._facade import alias

alias(__name__, "multiprocessing.spawn")
