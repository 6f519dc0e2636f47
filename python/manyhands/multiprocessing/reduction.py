"""The standard library's ``multiprocessing.reduction``, under our name."""

from manyhands._facade import alias

alias(__name__, "multiprocessing.reduction")
