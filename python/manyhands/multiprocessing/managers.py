"""The standard library's ``multiprocessing.managers``, under our name."""

from manyhands._facade import alias

alias(__name__, "multiprocessing.managers")
