"""The standard library's ``multiprocessing.popen_spawn_posix``, under our name."""

from manyhands._facade import alias

alias(__name__, "multiprocessing.popen_spawn_posix")
