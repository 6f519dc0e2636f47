"""The standard library's ``multiprocessing.synchronize``, under our name."""

from manyhands._facade import alias

alias(__name__, "multiprocessing.synchronize")
