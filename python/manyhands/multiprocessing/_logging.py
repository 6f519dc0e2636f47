"""Log records of children in one place: they go through one of our queues to the handlers of who asked for it.

Order: records arrive in the order in which they were put, those of one thread as it wrote them. Nothing can lock up:
the child holds no lock of the parent's, a killed child leaves a whole record or none, and what cannot be sent is told
on the child's stderr.
"""

from __future__ import annotations

import logging
import logging.handlers
import os
import pickle
import threading
from typing import Any

from manyhands._facade import stdlib_of

_util = stdlib_of("multiprocessing.util")

__all__ = ["Forwarding", "current", "forward_logging"]


class _Handler(logging.handlers.QueueHandler):
    """In a child: puts records into the queue."""

    queue: Any

    def enqueue(self, record: logging.LogRecord) -> None:
        try:
            self.queue.put(record)
        except (pickle.PicklingError, TypeError, AttributeError):  # something in `extra`
            for name, value in list(vars(record).items()):
                if not _pickles(value):
                    setattr(record, name, repr(value))
            self.queue.put(record)

    def handle(self, record: logging.LogRecord) -> Any:
        if self.queue.is_shut_down():
            return False  # nobody listens any more
        return super().handle(record)


def _pickles(value: Any) -> bool:
    try:
        pickle.dumps(value)
    except Exception:
        return False
    return True


class _Records:
    """The queue, and whether it takes any more."""

    def __init__(self, queue: Any) -> None:
        self.queue, self._over = queue, False

    def put(self, record: logging.LogRecord) -> None:
        from manyhands._impl.queue import ShutDown

        try:
            self.queue.put(record)
        except (ShutDown, ValueError):
            self._over = True

    def is_shut_down(self) -> bool:
        return self._over


class Forwarding:
    """What `forward_logging()` returns: records are forwarded until `stop()`, or the end of the ``with`` block.

    Made by that call alone: there is one in a process at most. A process that is started here gets it by itself.
    """

    __module__ = "manyhands.multiprocessing"

    def __init__(self) -> None:
        from manyhands.multiprocessing._contexts import _default_context

        self._queue = _default_context.get_context("spawn").Queue()
        self._pid = os.getpid()
        self._loggers: dict[str, tuple[int, bool]] = {}
        self._thread = threading.Thread(target=self._handle, name="manyhands-logging", daemon=True)
        self._thread.start()
        # Once the children have been waited for, at the end of the program.
        self._at_exit = _util.Finalize(self, Forwarding.stop, (self,), exitpriority=-5)

    def _handle(self) -> None:
        from manyhands._impl.queue import ShutDown

        while True:
            try:
                record = self._queue.get()
            except (ShutDown, EOFError, OSError):
                return
            logger = logging.getLogger(record.name)
            if logger.isEnabledFor(record.levelno):
                logger.handle(record)

    def stop(self) -> None:
        """Handle what has been put so far, and no more. Nothing happens in another process."""
        global current
        if self._pid != os.getpid() or current is not self:
            return
        current = None
        self._at_exit.cancel()
        self._queue.shutdown()
        if self._thread is not threading.current_thread():
            self._thread.join()

    def __enter__(self) -> Forwarding:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    # ---- in children

    def __getstate__(self) -> dict[str, Any]:
        return {"_queue": self._queue, "_pid": self._pid, "_loggers": _settings()}

    def _install(self) -> None:
        """In a child: its loggers have the levels of the parent's, and their records go to the queue, not elsewhere."""
        global current
        current = self
        for name, (level, propagate) in self._loggers.items():
            logger = logging.getLogger(name or None)
            logger.setLevel(level)
            logger.propagate = propagate
        records: Any = _Records(self._queue)
        handler = _Handler(records)
        for name in ["", *_settings()]:
            logger = logging.getLogger(name or None)
            for each in list(logger.handlers):
                logger.removeHandler(each)
            if not name or not logger.propagate:
                logger.addHandler(handler)


def _settings() -> dict[str, tuple[int, bool]]:
    """Level and propagation of the loggers there are; not of multiprocessing's own, which has its way to stderr."""
    there = {"": logging.root, **logging.root.manager.loggerDict}
    return {
        name: (logger.level, logger.propagate)
        for name, logger in there.items()
        if isinstance(logger, logging.Logger) and name != "multiprocessing"
    }


current: Forwarding | None = None


def forward_logging() -> Forwarding:
    """What is in force already, here or in the process that this one is a child of, or a new Forwarding."""
    global current
    if current is None:
        current = Forwarding()
    return current
