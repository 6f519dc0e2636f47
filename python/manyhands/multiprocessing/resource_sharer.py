"""The standard library's ``multiprocessing.resource_sharer``, under our name."""

from manyhands._facade import alias

alias(__name__, "multiprocessing.resource_sharer")
