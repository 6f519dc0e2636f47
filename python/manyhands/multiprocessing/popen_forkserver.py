"""The standard library's ``multiprocessing.popen_forkserver``, under our name."""

from manyhands._facade import alias

alias(__name__, "multiprocessing.popen_forkserver")
