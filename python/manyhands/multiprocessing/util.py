"""The standard library's ``multiprocessing.util``, under our name."""

from manyhands._facade import alias

alias(__name__, "multiprocessing.util")
