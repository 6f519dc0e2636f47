"""What a task may take and when it is run again: `executor.options(...)`."""

from __future__ import annotations

import math
from collections.abc import Callable

from manyhands._troubles import coded
from manyhands.futures._errors import WorkerDiedError
from manyhands.futures._record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["PLAIN", "Options"]


class Options(Record):
    """How tasks are run: what `executor.options(...)` takes, by the same names.

    `timeout`: seconds that one run of a task may take; then it is ended, and its future raises `TimeoutError`.
    `retries`: how often a task is run again after its worker died, or after an exception of `retry_on`.
    `retry_on`: an exception class or a tuple of them; `TimeoutError` is among them only where it is named.
    `backoff`: seconds before a run, doubled each time, or a function of the number of the retry (1, 2, ...).

    Each value is checked when one is made: TypeError for a wrong type, ValueError for a number that cannot be (a
    `timeout` of 0, a `backoff` below 0, one that is not finite).
    """

    __module__ = "manyhands.futures"
    __slots__ = ("timeout", "retries", "retry_on", "backoff")  # noqa: RUF023  # as they are shown

    def __init__(
        self,
        timeout: float | None = None,
        retries: int = 0,
        retry_on: type[BaseException] | tuple[type[BaseException], ...] = (),
        backoff: float | Callable[[int], float] = 0.0,
    ) -> None:
        if timeout is not None:
            _seconds("timeout", timeout)
            if timeout <= 0:
                text = f"timeout must be more than 0 seconds, or None for no limit, not {timeout!r}"
                raise coded(ValueError(text), "MH-ARGUMENT")
        if isinstance(retries, bool) or not isinstance(retries, int):
            text = f"retries must be an int: how often a task is run again, not {retries!r}"
            raise coded(TypeError(text), "MH-ARGUMENT")
        if retries < 0:
            raise coded(ValueError(f"retries must be 0 or more, not {retries}"), "MH-ARGUMENT")
        if not callable(backoff):
            _seconds("backoff", backoff)
            if backoff < 0:
                text = f"backoff must be 0 seconds or more, not {backoff!r}"
                raise coded(ValueError(text), "MH-ARGUMENT")
        self.timeout, self.retries, self.backoff = timeout, retries, backoff
        self.retry_on = _classes(retry_on)

    def replaced(self, **changes: Any) -> Options:
        """These options with some changed; TypeError for a name that is not an option."""
        for name in changes:
            if name not in self.__slots__:
                known = ", ".join(self.__slots__)
                text = f"there is no option {name!r}; the options are {known}"
                raise coded(TypeError(text), "MH-ARGUMENT")
        return Options(**{name: getattr(self, name) for name in self.__slots__} | changes)

    def again(self, error: BaseException, runs: int) -> bool:
        """Whether a task that has run `runs` times, and failed with `error`, is run once more."""
        return runs <= self.retries and isinstance(error, (WorkerDiedError, *self.retry_on))

    def delay(self, runs: int) -> float:
        """Seconds to wait before it is run again, after `runs` runs."""
        if not callable(self.backoff):
            return float(self.backoff * 2.0 ** min(runs - 1, 64))
        seconds = self.backoff(runs)
        _seconds("what backoff() returns", seconds)
        return max(0.0, float(seconds))


def _seconds(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise coded(TypeError(f"{name} must be a number of seconds, not {value!r}"), "MH-ARGUMENT")
    if not math.isfinite(value):
        raise coded(ValueError(f"{name} must be a finite number of seconds, not {value!r}"), "MH-ARGUMENT")


def _classes(given: Any) -> tuple[type[BaseException], ...]:
    classes = given if isinstance(given, tuple) else (given,)
    for one in classes:
        if not (isinstance(one, type) and issubclass(one, BaseException)):
            raise coded(
                TypeError(f"retry_on must be an exception class or a tuple of them, not {one!r}"),
                "MH-ARGUMENT",
            )
    return classes


PLAIN = Options()
