"""The standard library's ``multiprocessing.sharedctypes``, under our name."""

from manyhands._facade import alias

alias(__name__, "multiprocessing.sharedctypes")
