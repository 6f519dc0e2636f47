"""The standard library's ``multiprocessing.forkserver``, under our name."""

from manyhands._facade import alias

alias(__name__, "multiprocessing.forkserver")
