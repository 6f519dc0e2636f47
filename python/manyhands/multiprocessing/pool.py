"""The standard library's ``multiprocessing.pool``, under our name."""

from manyhands._facade import alias

alias(__name__, "multiprocessing.pool")
