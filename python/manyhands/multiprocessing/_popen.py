"""How children are started: the standard library's three ways, with a place in the arena for each child.

These classes are not put in the place of the standard library's, which build on each other.
"""

from __future__ import annotations

import linecache
import sys
from typing import Any

from manyhands._facade import stdlib_of
from manyhands._impl import core
from manyhands._impl.by_value import without_false_main

_process = stdlib_of("multiprocessing.process")

__all__ = ["popen"]


class _Ended:
    """In place of the core's handle, for a child that had ended before it could be looked at."""

    def pause(self, timeout: float | None = None, *, cancel: Any = None) -> bool:
        raise ValueError("the process has ended: it cannot be paused")

    def join(self, timeout: float | None = None, *, cancel: Any = None) -> bool:
        return True

    def resume(self) -> None:
        """Nothing to resume."""

    def state(self) -> str:
        return "finished"

    def cpu_time(self) -> float:
        raise ValueError("the CPU time of this process is not known any more")

    def memory(self) -> int:
        return 0


def _guide() -> str:
    """What to tell a script that starts processes while a child imports it: what to change, by its own line."""
    frame: Any = sys._getframe()
    while frame.f_back is not None and frame.f_globals.get("__name__") not in ("__main__", "__mp_main__"):
        frame = frame.f_back
    file, number = frame.f_code.co_filename, frame.f_lineno
    line = linecache.getline(file, number).strip() or "..."
    return f"""
        An attempt has been made to start a new process before the current process has finished its bootstrapping
        phase: a child imports the script once more, to find its functions, and it came to {file}, line {number}.

        Put what shall run only once, in the main process, into a function, and add these lines:

            def main():
                {line}
            if __name__ == "__main__":
                main()
        """


class Launch:
    """Mixed into the start methods' Popen classes: a place in the arena, and the core's handle of the child."""

    pid: int
    method: str
    control: Any
    _manyhands_place: int | None = None

    def _launch(self, process_obj: Any) -> None:
        if self.method != "fork" and getattr(_process.current_process(), "_inheriting", False):
            raise RuntimeError(_guide())
        place = core.arena_reserve()
        process_obj._manyhands_place = self._manyhands_place = place
        try:
            with without_false_main():
                super()._launch(process_obj)  # type: ignore[misc]
        except BaseException:
            if place is not None:
                core.arena_unreserve(place)
            raise
        try:
            if place is not None:  # None: more processes than places, this one goes without
                core.arena_settle(place, self.pid)
            self.control = core.ProcessControl(self.pid, place)
        except ProcessLookupError:
            # A fork server's child is not ours: when it ends at once, the server may have buried it by now.
            if place is not None:
                core.arena_unreserve(place)
            self.control = _Ended()

    def poll(self, *args: Any) -> Any:
        """Its exit code, None while it runs. With it goes its place, and what it held in shared memory to its end."""
        code = super().poll(*args)  # type: ignore[misc]
        place = self._manyhands_place
        if code is not None and place is not None:
            self._manyhands_place = None
            core.arena_unreserve(place)
        return code

    def terminate(self) -> None:
        """SIGTERM; a paused process goes on, to end."""
        super().terminate()  # type: ignore[misc]
        self.control.resume()


_made: dict[str, Any] = {}


def popen(method: str) -> Any:
    """The Popen class of a start method; the standard library's module is imported on first use, as it does itself."""
    if method not in _made:
        module = {"fork": "popen_fork", "spawn": "popen_spawn_posix", "forkserver": "popen_forkserver"}[
            method
        ]
        std = stdlib_of(f"multiprocessing.{module}").Popen
        _made[method] = type(
            "Popen", (Launch, std), {"__module__": __name__, "__doc__": "One started child."}
        )
    return _made[method]
