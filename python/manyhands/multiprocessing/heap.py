"""The standard library's ``multiprocessing.heap``, under our name."""

from manyhands._facade import alias

alias(__name__, "multiprocessing.heap")
