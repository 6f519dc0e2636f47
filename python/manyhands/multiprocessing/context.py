"""The standard library's ``multiprocessing.context``, under our name."""

from manyhands._facade import alias

alias(__name__, "multiprocessing.context")
