"""What runs inside an interpreter of `InterpreterPoolExecutor`: one step per task, and the thread that ends tasks."""

from __future__ import annotations

import pickle
import sys
import threading
import types
from typing import Any

from manyhands._impl import core, messages
from manyhands._troubles import coded
from manyhands.errors import ThreadExit
from manyhands.multiprocessing import _crew_worker as base

__all__ = ["Worker"]


def _box(handle: tuple[Any, ...]) -> Any:
    box = core.MessageQueue.__new__(core.MessageQueue)
    box._attach(*handle)
    return box


def _stand_in(path: str) -> types.ModuleType:
    """Stands for the script as `__main__`, which is run once something of it is asked for.

    A plain module with a `__getattr__` of its own: CPython 3.14 takes no subclass for `__main__`.
    """
    module = types.ModuleType("__main__")
    names = module.__dict__

    def find(name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        script = names.pop("_path", None)
        if script is not None:
            import runpy

            names.update(runpy.run_path(script, run_name="__mp_main__"))
            sys.modules["__mp_main__"] = module
        if name not in names:
            raise coded(
                AttributeError(f"the script has no {name!r} where its name is '__mp_main__'"), "MH-BY-NAME"
            )
        return names[name]

    names.update(_path=path, __file__=path, __getattr__=find)
    return module


class Worker:
    """The interpreter's side of a worker."""

    def __init__(self, handles: list[tuple[Any, ...]], main: str | None) -> None:
        self.tasks, self.results, self.ends = map(_box, handles)
        self.functions: dict[bytes, Any] = {}
        self.thread = threading.get_ident()
        self.busy = False
        self.ended = False  # its task was taken away: there is no other after it
        self.lock = threading.Lock()
        if main is not None:
            stand_in = _stand_in(main)
            stand_in.__dict__["_w"] = self
            sys.modules["__main__"].__dict__.setdefault("_w", self)
            self.keep = sys.modules["__main__"]
            sys.modules["__main__"] = stand_in
        self.ender = threading.Thread(target=self._end_tasks)
        self.ender.start()

    def _end_tasks(self) -> None:
        while self.ends.get():
            with self.lock:
                self.ended = True
                if self.busy:
                    core._raise_in(self.thread, ThreadExit)

    def step(self) -> None:
        """Take a task, run it, put the result."""
        result = self._run(self.tasks.get(False))
        try:
            self.results.put(result)
        except Exception as error:
            self.results.put(base.describe(0, base.RAISED, error))

    def _run(self, task: Any) -> tuple[Any, ...]:
        try:
            if task[0] is None:
                task = messages.loads(*task[1:])
            function = task[0]
            if type(function) is bytes:
                function = self._function(function)
            value = self._call(function, task)
        except BaseException as error:
            return base.describe(0, base.RAISED, error)
        if type(value) in base.PLAIN:
            return 0, base.VALUE, value
        try:
            data, buffers = messages.dumps(value)
        except BaseException as error:
            return base.describe(0, base.RAISED, error)
        return (0, base.PICKLED, data, buffers) if buffers else (0, base.PICKLED, data)

    def _call(self, function: Any, task: Any) -> Any:
        # Between the two marks alone an exception may come from the other thread.
        with self.lock:
            if self.ended:
                raise ThreadExit  # taken away before it had begun
            self.busy = True
        try:
            return function(*task[1]) if len(task) == 2 else function(*task[1], **task[2])
        finally:
            with self.lock:
                self.busy = False

    def _function(self, name: bytes) -> Any:
        try:
            return self.functions[name]
        except KeyError:
            function = self.functions[name] = pickle.loads(name)
            return function

    def shut(self) -> None:
        """Before the interpreter is destroyed."""
        self.ender.join()
