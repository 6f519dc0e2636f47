"""The exception of a worker's death."""

from concurrent.futures.process import BrokenProcessPool

from manyhands.errors import Error

__all__ = ["WorkerDiedError"]


class WorkerDiedError(Error, BrokenProcessPool):
    """The worker that ran this task died: killed, crashed, or left by ``os._exit``. The task may have run in part."""
