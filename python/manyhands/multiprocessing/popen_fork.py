"""The standard library's ``multiprocessing.popen_fork``, under our name."""

from manyhands._facade import alias

alias(__name__, "multiprocessing.popen_fork")
