"""Drop-in for the standard library's ``concurrent.futures``."""

from manyhands._facade import facade, stdlib_of

_std = stdlib_of("concurrent.futures")

from manyhands.futures._errors import WorkerDiedError  # noqa: E402  # needs the standard library's module

facade(__name__, _std, extra=("WorkerDiedError",))
