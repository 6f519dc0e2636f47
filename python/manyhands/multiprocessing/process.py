"""The standard library's ``multiprocessing.process``, under our name."""

from manyhands._facade import alias

alias(__name__, "multiprocessing.process")
