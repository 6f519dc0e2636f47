"""Drop-in for the standard library's ``concurrent.futures``."""

from manyhands._facade import facade, stdlib_of

_std = stdlib_of("concurrent.futures")

from manyhands._impl import available  # noqa: E402
from manyhands.futures._errors import WorkerDiedError as WorkerDiedError  # noqa: E402

if available:
    from manyhands.futures._process import ProcessPoolExecutor
    from manyhands.futures._thread import ThreadPoolExecutor

facade(__name__, _std, extra=("WorkerDiedError",))
