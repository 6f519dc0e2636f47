"""The exception of a worker's death."""

from __future__ import annotations

from concurrent.futures.process import BrokenProcessPool

from manyhands.errors import Error

__all__ = ["WorkerDiedError"]


class WorkerDiedError(Error, BrokenProcessPool):
    """The worker that ran this task died: killed, crashed, or left by ``os._exit``. The task may have run in part.

    `pid` and `exitcode` are the worker's (minus the signal's number where it was killed), `cause` the same in words,
    `task` is the name of the function, `last_words` what the worker wrote to standard error last.
    """

    code = "MH-WORKER-DIED"
    pid: int | None = None
    exitcode: int | None = None
    cause = ""
    task: str | None = None
    last_words = ""

    def __str__(self) -> str:
        text = str(self.args[0]) if self.args else ""
        if self.cause:
            text += f"{self.task or 'this task'} ({self.cause})"
        if self.last_words:
            text += f"; its last words on standard error:\n{self.last_words}"
        return text
