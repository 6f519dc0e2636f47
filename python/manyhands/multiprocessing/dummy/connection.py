"""The standard library's ``multiprocessing.dummy.connection``, under our name."""

from manyhands._facade import alias

alias(__name__, "multiprocessing.dummy.connection")
