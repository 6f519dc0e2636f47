"""What a task may take and when it is run again: `executor.options(...)`."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

from manyhands._troubles import coded
from manyhands.futures._errors import WorkerDiedError

__all__ = ["PLAIN", "Options"]


@dataclasses.dataclass(frozen=True, slots=True)
class Options:
    """How tasks are run. Made by `executor.options(...)`, which checks every value.

    `timeout`: seconds that one run of a task may take; then it is ended, and its future raises `TimeoutError`.
    `retries`: how often a task is run again after its worker died, or after an exception of `retry_on`.
    `retry_on`: an exception class or a tuple of them; `TimeoutError` is among them only where it is named.
    `backoff`: seconds before a run, doubled each time, or a function of the number of the retry (1, 2, ...).
    """

    timeout: float | None = None
    retries: int = 0
    retry_on: type[BaseException] | tuple[type[BaseException], ...] = ()
    backoff: float | Callable[[int], float] = 0.0

    def __post_init__(self) -> None:
        if self.timeout is not None:
            _seconds("timeout", self.timeout)
            if self.timeout <= 0:
                raise coded(
                    ValueError(
                        f"timeout must be more than 0 seconds, or None for no limit, not {self.timeout!r}"
                    ),
                    "MH-ARGUMENT",
                )
        if isinstance(self.retries, bool) or not isinstance(self.retries, int):
            raise coded(
                TypeError(f"retries must be an int: how often a task is run again, not {self.retries!r}"),
                "MH-ARGUMENT",
            )
        if self.retries < 0:
            raise coded(ValueError(f"retries must be 0 or more, not {self.retries}"), "MH-ARGUMENT")
        object.__setattr__(self, "retry_on", _classes(self.retry_on))
        if not callable(self.backoff):
            _seconds("backoff", self.backoff)
            if self.backoff < 0:
                raise coded(
                    ValueError(f"backoff must be 0 seconds or more, not {self.backoff!r}"), "MH-ARGUMENT"
                )

    def replaced(self, **changes: Any) -> Options:
        """These options with some changed; TypeError for a name that is not an option."""
        known = [field.name for field in dataclasses.fields(self)]
        for name in changes:
            if name not in known:
                raise coded(
                    TypeError(f"there is no option {name!r}; the options are {', '.join(known)}"),
                    "MH-ARGUMENT",
                )
        return dataclasses.replace(self, **changes)

    def again(self, error: BaseException, runs: int) -> bool:
        """Whether a task that has run `runs` times, and failed with `error`, is run once more."""
        return runs <= self.retries and isinstance(error, (WorkerDiedError, *self.retry_on))  # type: ignore[misc]

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
