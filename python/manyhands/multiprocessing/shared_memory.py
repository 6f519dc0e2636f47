"""The standard library's ``multiprocessing.shared_memory``, under our name."""

from manyhands._facade import alias

alias(__name__, "multiprocessing.shared_memory")
