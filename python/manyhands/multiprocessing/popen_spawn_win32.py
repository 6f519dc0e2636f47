"""The standard library's ``multiprocessing.popen_spawn_win32``: an ImportError anywhere but on Windows."""

from manyhands._facade import alias

alias(__name__, "multiprocessing.popen_spawn_win32")
