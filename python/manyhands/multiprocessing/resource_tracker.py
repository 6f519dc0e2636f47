"""The standard library's ``multiprocessing.resource_tracker``, under our name."""

from manyhands._facade import alias

alias(__name__, "multiprocessing.resource_tracker")
