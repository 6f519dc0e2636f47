"""What runs in the worker processes of pools and executors: take a task, run it, send what came of it.

A task is a message of the task channel: `(function, arguments)`, `(function, arguments, keywords)`, or, for a result
that is to be a list of one, `(function, arguments, None)`. The function travels as its pickle where it is found by its
name, which each worker looks up once; else as itself. A worker that cannot unpickle a task still knows which one it is:
its place in the table of claims says so (see `_crew`). `(None, pickle[, buffers])` is such a task, pickled before.

What came of it is a message of the result channel, `(number, kind, ...)`:

    VALUE, value            a plain value
    LIST, items             a list of plain values, as a tuple
    PICKLED, pickle[, buffers beside it]
    RAISED, pickle of the exception, traceback as text
    TOLD, type name, message, traceback as text, notes ...     an exception that does not survive the way
    UNSENT, pickle of the exception, repr of the value      a value that cannot be pickled
    UNSET, pickle of the exception, traceback as text       the initialiser raised; no number
    BYTES, the bytes        many of them

What is large goes beside the message, in a block of its own: so the message itself can be read where there is no memory
for the value, and that fails one task alone.
"""

from __future__ import annotations

import contextlib
import gc
import itertools
import os
import pickle
import signal
import sys
from collections.abc import Callable

from manyhands._facade import stdlib_of
from manyhands._impl import strict
from manyhands._impl.messages import LARGE, dumps, loads
from manyhands.multiprocessing._last_words import Paper, listen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Looked up here, and not in each worker that is forked.
_process: Any = stdlib_of("multiprocessing.process")
_queue: Any = stdlib_of("queue")

__all__ = [
    "BYTES",
    "LIST",
    "PICKLED",
    "RAISED",
    "TOLD",
    "UNSENT",
    "UNSET",
    "VALUE",
    "Setup",
    "apply_each",
    "apply_starred",
    "spare_what_is_inherited",
    "work",
]

VALUE, LIST, PICKLED, RAISED, TOLD, UNSENT, UNSET, BYTES = range(8)

PLAIN = frozenset((type(None), bool, int, float, str, bytes))
SIZED = frozenset((str, bytes))
UNSIZED = PLAIN - SIZED
SEVERAL = 32  # values of a list that travel as they are
LOOK_FOR_PARENT = 2.0  # seconds between two looks whether the parent still lives


class Setup:
    """What a worker is started with."""

    size: int  # how many workers there are at most

    def __init__(
        self,
        tasks: Any,
        results: Any,
        table: Any,
        initializer: Callable[..., Any] | None,
        initargs: tuple[Any, ...],
        most: int | None,
        passes: type[BaseException],
    ) -> None:
        self.tasks, self.results, self.table = tasks, results, table
        self.initializer, self.initargs = initializer, initargs
        self.most = most
        self.passes = passes
        """What of a task's exceptions is a result; others end the worker."""


def apply_each(function: Callable[..., Any], *items: Any) -> list[Any]:
    """A chunk of a map."""
    return list(map(function, items))


def apply_starred(function: Callable[..., Any], *items: Any) -> list[Any]:
    """A chunk of a starmap."""
    return list(itertools.starmap(function, items))


among = 1  # workers that share the cores with this process


def spare_what_is_inherited() -> None:
    """From the collector, in a worker: a collection of all generations writes to every object, and so copies each page
    that a forked worker shares with its parent. Objects are freed as ever once nobody refers to them; cycles are not.
    """
    if not strict and _process.parent_process() is not None:
        gc.freeze()


def work(setup: Setup, place: int, paper: Paper | None = None) -> None:
    """The life of a worker: until a task is None, `most` tasks are done, or the parent is gone."""
    global among
    among *= setup.size
    spare_what_is_inherited()
    if paper is not None:
        listen(paper)
    # Ctrl-C: the parent gets it as well, and tells what it thinks of it
    with contextlib.suppress(KeyboardInterrupt):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        if setup.initializer is None or _prepared(setup):
            _Worker(setup, place).serve()


def _prepared(setup: Setup) -> bool:
    try:
        setup.initializer(*setup.initargs)  # type: ignore[misc]
    except Exception as error:
        setup.results.put(describe(0, UNSET, error))
        return False
    return True


class _Worker:
    """One worker's state between its tasks."""

    def __init__(self, setup: Setup, place: int) -> None:
        self.setup, self.place = setup, place
        self.words = setup.table.words()
        self.functions: dict[bytes, Any] = {}
        self.parent, self.empty = _process.parent_process(), _queue.Empty
        setup.tasks._claim(self.words, place)

    def serve(self) -> None:
        setup, words, place = self.setup, self.words, self.place
        put, get = setup.results.put, setup.tasks.get
        done, most = 0, setup.most
        while most is None or done < most:
            try:
                task = get(True, LOOK_FOR_PARENT)
            except self.empty:
                if self.parent is not None and not self.parent.is_alive():
                    sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - for the rest of this process
                    return
                continue
            except Exception as error:
                number = words[place] & 0xFFFFFFFF
                put(describe(number, RAISED, error))
            else:
                if task is None:
                    break
                number = words[place] & 0xFFFFFFFF
                result = self.run(number, task)
                del task  # the next one may be long in coming
                self.send(number, result)
                del result
            words[place] = 0
            done += 1
        words[place] = 0

    def run(self, number: int, task: tuple[Any, ...]) -> tuple[Any, ...]:
        """Run it; the result as a message."""
        try:
            function = task[0]
            if function is None:
                task = loads(*task[1:])
                function = task[0]
            if type(function) is bytes:
                function = self.function_of(function)
            if len(task) == 2:
                value = function(*task[1])
            elif task[2] is None:
                value = function(*task[1])
                if type(value) in UNSIZED:
                    return number, LIST, (value,)
                value = [value]
            else:
                value = function(*task[1], **task[2])
        except self.setup.passes as error:
            return describe(number, RAISED, error)
        kind = type(value)
        if kind in PLAIN:
            return plain(number, value)
        if kind is list and len(value) <= SEVERAL and _all_plain(value):
            return number, LIST, tuple(value)
        try:
            return (number, PICKLED, *_pickled(value))
        except Exception as error:
            return _unsent(number, error, value)

    def function_of(self, name: bytes) -> Any:
        """The function with this pickle, which is but its name."""
        try:
            return self.functions[name]
        except KeyError:
            function = self.functions[name] = pickle.loads(name)
            return function

    def send(self, number: int, result: tuple[Any, ...]) -> None:
        """Put it; what cannot be put (too large, say) is told instead."""
        try:
            self.setup.results.put(result)
        except Exception as error:
            self.setup.results.put(describe(number, RAISED, error))


def plain(number: int, value: Any) -> tuple[Any, ...]:
    """A value of a plain type as a message."""
    if type(value) not in SIZED or len(value) < LARGE:
        return number, VALUE, value
    if type(value) is bytes:
        return number, BYTES, pickle.PickleBuffer(value)
    return (number, PICKLED, *_pickled(value))


def _all_plain(values: list[Any]) -> bool:
    types = set(map(type, values))
    if not types <= PLAIN:
        return False
    return not types & SIZED or all(type(value) not in SIZED or len(value) < LARGE for value in values)


def _pickled(value: Any) -> tuple[Any, ...]:
    return beside(*dumps(value))


def beside(data: bytes, buffers: list[pickle.PickleBuffer]) -> tuple[Any, ...]:
    """A pickle as part of a message."""
    apart = data if len(data) < LARGE else pickle.PickleBuffer(data)
    return (apart, buffers) if buffers else (apart,)


def _unsent(number: int, error: Exception, value: Any) -> tuple[Any, ...]:
    return (number, UNSENT, *_survives(error), _repr(value))


def _repr(value: Any) -> str:
    try:
        return repr(value)
    except Exception:
        return f"<{type(value).__name__}>"


def _survives(error: BaseException) -> tuple[bytes]:
    """The exception's pickle, where the exception comes back out of it."""
    data = dumps(error, True)
    if type(loads(data)) is not type(error):
        raise TypeError("it comes back as something else")
    return (data,)


def describe(number: int, kind: int, error: BaseException) -> tuple[Any, ...]:
    """An exception as a message: itself where it survives the way, else what there is to tell of it."""
    import traceback  # here: most workers never need it

    text = "".join(traceback.format_exception(error))
    error.__traceback__ = None
    try:
        return (number, kind, *_survives(error), text)
    except Exception:
        if kind == UNSET:
            return number, UNSET, dumps(RuntimeError(_line(error)), True), text
        notes = [note for note in getattr(error, "__notes__", ()) if isinstance(note, str)]
        return number, TOLD, type(error).__qualname__, _line(error), text, *notes


def _line(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return "(its message cannot be shown)"
