"""Drop-in for the standard library's ``multiprocessing.forkserver``; ours is in ``_forkserver``."""

from manyhands._facade import facade, stdlib_of
from manyhands._impl import available

_std = stdlib_of("multiprocessing.forkserver")

if available:
    from manyhands.multiprocessing._forkserver import ForkServer as ForkServer
    from manyhands.multiprocessing._forkserver import connect_to_new_process as connect_to_new_process
    from manyhands.multiprocessing._forkserver import ensure_running as ensure_running
    from manyhands.multiprocessing._forkserver import get_inherited_fds as get_inherited_fds
    from manyhands.multiprocessing._forkserver import server as _forkserver

facade(__name__, _std)
