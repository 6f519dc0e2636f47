"""Drop-in for the standard library's ``concurrent.futures``."""

from manyhands._facade import facade, stdlib_of

_std = stdlib_of("concurrent.futures")

from manyhands._impl import available, strict  # noqa: E402
from manyhands.futures._errors import WorkerDiedError as WorkerDiedError  # noqa: E402

if available:
    from manyhands.futures._thread import ThreadPoolExecutor
if available and not strict:
    # Strict compatibility asks for an executor that refuses all work after one death: the standard library's.
    from manyhands.futures._process import ProcessPoolExecutor

facade(__name__, _std, extra=("WorkerDiedError",))
