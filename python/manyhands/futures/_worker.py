"""The side of `ProcessPoolExecutor` that runs in a worker process."""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any

from manyhands._facade import stdlib_of
from manyhands._impl.messages import dumps, loads
from manyhands.errors import RemoteError

__all__ = ["INITIALIZER_FAILED", "RAISED", "RETURNED", "VALUE", "pack_task", "run_worker", "unpack_result"]

# What a result message says: (task, kind, payload, buffers).
VALUE, RETURNED, RAISED, INITIALIZER_FAILED = range(4)

_PLAIN = (type(None), bool, int, float, str)  # they travel as they are
_LOOK_FOR_PARENT = 2.0  # seconds between two looks whether the parent still lives


def pack_task(number: int, call: Any) -> tuple[Any, ...]:
    """A task as a message. Its pickle lies inside: a worker that cannot unpickle it still knows its number."""
    pickle, buffers = dumps(call)
    return (number, pickle, buffers) if buffers else (number, pickle)


def _pack(number: int, kind: int, value: Any) -> tuple[Any, ...]:
    pickle, buffers = dumps(value)
    return (number, kind, pickle, buffers) if buffers else (number, kind, pickle)


def unpack_result(message: tuple[Any, ...]) -> Any:
    """The value or exception of a result message."""
    if message[1] == VALUE:
        return message[2]
    return loads(message[2], message[3] if len(message) > 3 else None)


class _WithTraceback(Exception):
    """Shown as the cause of an exception that came from a worker: where in the worker it was raised."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __str__(self) -> str:
        return f'\n"""\n{self.text}"""'


def _rebuild(error: BaseException, text: str) -> BaseException:
    error.__cause__ = _WithTraceback(text)
    return error


class _Raised:
    """An exception on its way to the parent, with its traceback as text."""

    def __init__(self, error: BaseException, text: str) -> None:
        self.error, self.text = error, text

    def __reduce__(self) -> Any:
        return _rebuild, (self.error, self.text)


def _pack_exception(number: int, kind: int, error: BaseException) -> tuple[Any, ...]:
    """The exception as itself where it survives the way there, else as a `RemoteError` that tells of it."""
    text = "".join(traceback.format_exception(error))
    error.__traceback__ = None
    try:
        message = _pack(number, kind, _Raised(error, text))
        if not isinstance(unpack_result(message), type(error)):
            raise TypeError("it comes back as something else")
        return message
    except Exception:
        return _pack(number, kind, RemoteError(type(error).__qualname__, str(error), text))


def _run(number: int, message: tuple[Any, ...]) -> tuple[Any, ...]:
    try:
        function, arguments, keywords = loads(message[1], message[2] if len(message) > 2 else None)
        value = function(*arguments, **keywords)
        if type(value) in _PLAIN:
            return number, VALUE, value
        return _pack(number, RETURNED, value)
    except BaseException as error:
        return _pack_exception(number, RAISED, error)


def run_worker(
    tasks: Any,
    results: Any,
    table: Any,
    place: int,
    most: int | None,
    initializer: Callable[..., Any] | None,
    arguments: tuple[Any, ...],
) -> None:
    """Take tasks until told to end (None), after `most` tasks, or when the parent is gone.

    `table[place]` is the number of the task that this worker has taken: if it dies, that one is charged with it.
    """
    if initializer is not None:
        try:
            initializer(*arguments)
        except BaseException as error:
            results.put(_pack_exception(0, INITIALIZER_FAILED, error))
            return
    # Ctrl-C between two tasks: the parent gets it as well, and tells what it thinks of it
    with contextlib.suppress(KeyboardInterrupt):
        _serve(tasks, results, table, place, most)


def _serve(tasks: Any, results: Any, table: Any, place: int, most: int | None) -> None:
    done = 0
    while most is None or done < most:
        message = _next_task(tasks)
        if message is None:
            return
        number = message[0]
        table[place] = number
        result = _run(number, message)
        del message
        _send(results, number, result)
        table[place] = 0
        done += 1
    table[place] = -1  # it ends because it has done its share


def _send(results: Any, number: int, result: tuple[Any, ...]) -> None:
    try:
        results.put(result)
    except Exception as error:
        results.put(_pack_exception(number, RAISED, error))


def _next_task(tasks: Any) -> Any:
    empty = stdlib_of("queue").Empty
    parent = stdlib_of("multiprocessing.process").parent_process()
    while True:
        try:
            return tasks.get(timeout=_LOOK_FOR_PARENT)
        except empty:
            if parent is not None and not parent.is_alive():
                sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - for the rest of this process
                return None
