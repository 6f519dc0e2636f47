"""What the errors of manyhands mean, and what to do: by a short code, which tracebacks show and `explain` takes.

The table below is also a part of the guide (docs/guide/troubleshooting.md), which a test holds equal to it.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeVar

__all__ = ["TROUBLES", "Code", "Trouble", "coded", "found_in", "note"]

_E = TypeVar("_E", bound=BaseException)


class Trouble(NamedTuple):
    code: str
    title: str
    pieces: tuple[str, ...]  # of messages, word for word: by these it is found where a text has no code
    text: str


def note(code: str) -> str:
    """The line that a traceback ends with."""
    return f"{code}: python -m manyhands explain {code}"


def coded(error: _E, code: str) -> _E:
    """The error, with a line below its traceback that leads here. Its message stays as it is."""
    error.add_note(note(code))
    return error


class Code:
    """The notes of a class of errors begin with its code. They are made when somebody asks for them, at a traceback."""

    def __get__(self, error: Any, cls: type) -> Any:
        if error is None or cls.code is None:  # type: ignore[attr-defined]
            raise AttributeError("__notes__")
        notes = error.__dict__["__notes__"] = [note(error.code)]
        return notes


def found_in(text: str) -> list[Trouble]:
    """Those whose code or message the text has; codes first."""
    import re  # only here: this module is imported with the package

    words = " ".join(text.split())
    by_code = [one for one in TROUBLES if re.search(rf"\b{one.code}\b", words, re.I)]
    return by_code or [one for one in TROUBLES if any(piece in words for piece in one.pieces)]


TROUBLES = (
    Trouble(
        "MH-OWNER-DIED",
        "The owner of a lock was killed while it held it",
        ("the owner of this lock died while it held it",),
        "The lock is not held now, and what it guards may be half changed. `lock.recover()` acquires it: look"
        " at the data, repair them, `release()`. Data that cannot be repaired: let the program end. Why was "
        "it killed? Its exit code says which signal; -9 without anybody's doing is the kernel, for memory.",
    ),
    Trouble(
        "MH-WORKER-DIED",
        "The worker that ran this task died",
        (
            "died while it ran",
            "its last words on standard error",
        ),
        "The task may have run in part. `error.exitcode` is minus the signal's number: -9 is `kill -9` or the"
        " kernel, for memory (fewer workers, smaller chunks, `max_memory=`); -11 is a crash of C code, whose "
        "Python stack is among `error.last_words`. Another number is `os._exit`. `options(retries=1)` runs "
        "such a task again, if that does no harm.",
    ),
    Trouble(
        "MH-CANCELLED",
        "A wait was ended by its CancelToken",
        ("cancelled by the CancelToken",),
        "Somebody called `cancel()` on the token that this call was given; the message is the reason. Catch "
        "`manyhands.Cancelled` where the work is to end, and leave.",
    ),
    Trouble(
        "MH-DEADLOCK",
        "This wait would never end: threads wait for each other's locks",
        (),
        "The message has the stacks of all threads of the ring. Take the locks in the same order everywhere, "
        "or hold only one at a time. The lock is not held; `with` blocks on the way out release the others.",
    ),
    Trouble(
        "MH-GUARD",
        "A child imports the script, and comes to lines that start processes",
        ("before the current process has finished its bootstrapping",),
        'Put what shall run once into `def main():`, and call it below `if __name__ == "__main__":`. The '
        "message names the line. A new process imports your file to find the functions in it.",
    ),
    Trouble(
        "MH-FORKED",
        "A forked child uses its parent's pool or executor",
        (
            "this executor belongs to the parent process",
            "and no result would come here, to its child",
        ),
        "Workers and results are the parent's. Make a new pool in the child, or hand the work to the parent "
        "by a queue.",
    ),
    Trouble(
        "MH-FORK-INTERPRETERS",
        "os.fork() in a program that has interpreters",
        ("while an interpreter of an executor lives would kill the child",),
        "CPython kills such a child. Shut the executor down before, or start processes by `spawn` or "
        "`forkserver`.",
    ),
    Trouble(
        "MH-MAIN-THREAD",
        "The main thread cannot be paused or terminated",
        ("the main thread: it takes the signals and ends the program",),
        "It takes the signals, and the program ends with it. Move its work to a `Thread`, and have the main "
        "thread wait.",
    ),
    Trouble(
        "MH-PARK",
        "A thread cannot be paused where it is, on Python 3.11",
        ("cannot park it: it parks at its next wait in manyhands or manyhands.checkpoint()",),
        "Put `manyhands.checkpoint()` into its loop, or use Python 3.12 or newer. The request stands, and the"
        " thread parks as soon as it comes to such a place.",
    ),
    Trouble(
        "MH-BY-NAME",
        "A function or class cannot be found by name in another process",
        ("Functions and classes without a name of their own can be sent once cloudpickle is installed",),
        "`pip install cloudpickle`, or move the function to the top of a module.",
    ),
    Trouble(
        "MH-QUEUE-LIMIT",
        "A queue holds more bytes than it may",
        ("the queue has reached its limit of bytes: nobody takes what is put",),
        "The limit is a quarter of the free memory, or of the control group's. The consumers are too slow, or"
        " gone. Give the queue a size, `Queue(maxsize=...)`, so that `put()` waits.",
    ),
    Trouble(
        "MH-SHARED-MEMORY",
        "No shared memory is left",
        (
            "bytes of shared memory are left",
            "/dev/shm has room for",
        ),
        "Arrays that somebody still holds, or messages that nobody takes, keep it. Named blocks lie in "
        "`/dev/shm`, which is small in containers: make it larger (`docker run --shm-size`), or use "
        "`manyhands.shared`, which does not need it. `python -m manyhands clean` removes what killed programs"
        " left there.",
    ),
    Trouble(
        "MH-OTHER-TREE",
        "A message with a large value comes from a program that is no relative",
        ("this message lies in the shared memory of another tree of processes",),
        "The first large value that a process outside the tree sends or receives cannot be handed over. Send "
        "it once more.",
    ),
    Trouble(
        "MH-START",
        "No process could be started",
        ("no process could be started",),
        "The message names the limit: processes of the user (`ulimit -u`), of the control group (`pids.max`),"
        " descriptors (`ulimit -n`), or memory. A pool in the place of a process for each task needs fewer.",
    ),
    Trouble(
        "MH-TASK-TIME",
        "A task was ended: its time was up",
        ("the task was ended: it ran for longer than",),
        "It had a limit by `options(timeout=...)`. In a pool of processes its worker was killed and replaced;"
        " what it had written outside stays as it is.",
    ),
    Trouble(
        "MH-INTERPRETERS",
        "Interpreters need Python 3.13 or newer",
        ("executors over interpreters need Python 3.13 or newer",),
        "Use `threads` for waits and C code, `processes` for computing in Python.",
    ),
    Trouble(
        "MH-CORE",
        "The compiled core is not usable here",
        ("needs the compiled core, which is not usable here",),
        "The package runs on the standard library alone: another system than Linux, or it was not built for "
        "this Python. `python -m manyhands status` says which. `pip install .` builds it.",
    ),
)
