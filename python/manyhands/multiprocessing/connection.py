"""The standard library's ``multiprocessing.connection``, under our name."""

from manyhands._facade import alias

alias(__name__, "multiprocessing.connection")
