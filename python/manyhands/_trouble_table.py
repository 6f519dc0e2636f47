"""What the errors of manyhands mean, and what to do: by a short code, which tracebacks show and `explain` takes.

The table below is also a part of the guide (docs/guide/troubleshooting.md), which a test holds equal to it.
"""

from __future__ import annotations

import re
from typing import NamedTuple

__all__ = ["TROUBLES", "Trouble", "found_in"]


class Trouble(NamedTuple):
    code: str
    title: str
    pieces: tuple[str, ...]  # of messages, word for word: by these it is found where a text has no code
    text: str


def found_in(text: str) -> list[Trouble]:
    """Those whose code or message the text has; codes first."""
    words = " ".join(text.split())
    by_code = [one for one in TROUBLES if re.search(rf"(?<![\w-]){one.code}(?![\w-])", words, re.I)]
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
        "MH-POISON",
        "An item is given up: consumers die while they have it",
        ("it is given up, and counts as done",),
        "So many as `JoinableQueue(redeliver=N)` allows have died with this item. Look at it in a process "
        "that may die: `error.load()`. Or write it down and go on with the next.",
    ),
    Trouble(
        "MH-SEGMENT",
        "What a name stands for cannot be used",
        (
            "not what was asked for, or damaged",
            "not complete: its maker is still at it, or was killed at it",
        ),
        "Another version of manyhands made it, it is something else (a `Lock` is opened as a `Queue`), its "
        "maker was killed in the middle, or somebody wrote over it. `manyhands.named.unlink(name)` takes it "
        "away; then make it anew. What was in it is lost.",
    ),
    Trouble(
        "MH-ARGUMENT",
        "A function was given what it cannot take",
        (),
        "The message names the argument, what was given and what may be. `help()` of the function has all of "
        "them. Nothing was done: the object is as it was.",
    ),
    Trouble(
        "MH-STATE",
        "A call at the wrong time",
        (),
        "The object is not ready for it, or no longer: a thread that does not run cannot be paused, a "
        "subclass must call `super().__init__()` before anything else, and only once. Where another thread "
        "may come first, ask `is_alive()` or `state`, and be ready for this error all the same.",
    ),
    Trouble(
        "MH-NOT-HELD",
        "Released by one who does not hold it",
        (
            "cannot release: not held for",
            "this process has no permit of the semaphore",
            "the calling thread is not inside this shield",
        ),
        "Each release belongs to one acquire, by the same thread (a robust semaphore: the same process). Use "
        "`with`, which does both. To let one thread wait for another use an `Event`.",
    ),
    Trouble(
        "MH-RWLOCK",
        "A reader-writer lock is taken again by the thread that has it",
        (
            "the calling thread writes already: an RWLock is not recursive",
            "cannot upgrade: the calling thread reads",
        ),
        "It would wait for itself. Take it once, at the outermost place; for writing if the thread may come "
        "to write. Or release the read side first, and look again at what was read once it writes.",
    ),
    Trouble(
        "MH-TOO-MANY",
        "There is room for no more",
        (
            "too many readers at once",
            "holders and waiters of one RWLock",
            "use shared memory already: no more can",
        ),
        "A table in shared memory has as many places as the message says. Fewer processes, each with more to "
        "do; or locks for parts of the data in the place of one for all.",
    ),
    Trouble(
        "MH-DAMAGED",
        "Shared memory does not hold what it should",
        (
            "a message in this channel does not hold what its header promises",
            "these bytes are not an encoded value",
            "this number has left the memory that it is shared in",
        ),
        "Somebody wrote over it: C code past the end of an array, or a program that maps the same memory. "
        "Nothing of it was used. Make the queue or object anew; look for the writer with ASan.",
    ),
    Trouble(
        "MH-TRAVEL",
        "This cannot be sent like that",
        (
            "can be sent to processes of this program alone",
            "holds references to objects, which mean nothing in another process",
            "what has a name travels by its name",
        ),
        "What lies in shared memory goes through queues, pipes and pools of `manyhands.multiprocessing`, or "
        "as an argument of a process; not through `pickle` alone, a file or a socket.",
    ),
    Trouble(
        "MH-SYSTEM",
        "The system or this Python does not allow it",
        (
            "this system does not let a process look at its own threads",
            "sys._current_frames() is gone",
        ),
        "A container's filter of system calls, or a Python that we do not know yet. The rest of manyhands "
        "works; `python -m manyhands status` shows what there is.",
    ),
    Trouble(
        "MH-SHUTDOWN",
        "A wait at the end of the program that nobody would end",
        ("cannot wait for another thread at interpreter shutdown",),
        "The interpreter ends, and no other thread runs any more. Join threads and shut executors down before "
        "the main program returns, not in `__del__` or `atexit`.",
    ),
    Trouble(
        "MH-PACKAGE",
        "An optional package is not installed",
        (
            "needs the package threadpoolctl",
            "arrays need NumPy",
        ),
        "`pip install` the one that the message names, or do without what needs it.",
    ),
    Trouble(
        "MH-TIMEOUT",
        "The time that you gave is over",
        (
            "tasks are left after",
            "workers still run tasks",
            "tasks unfinished",
        ),
        "What runs goes on. Wait again, give more time, or end it: `future.cancel(running=True)`, "
        "`executor.terminate_workers()`.",
    ),
    Trouble(
        "MH-WORKERS-START",
        "Workers die before they take a task",
        ("workers died before they took a task",),
        "Often the module with the function cannot be imported in a child, or an initialiser ends the "
        "process. Standard error has the reason. Try `python -c 'import yourmodule'` by itself.",
    ),
    Trouble(
        "MH-TERMINATED",
        "The pool was terminated before this task was done",
        ("the pool was terminated before this task was done",),
        "`terminate()`, or the end of a `with` block: that of `Pool` ends what runs. Take the results inside "
        "the block, or `close()` and `join()` the pool.",
    ),
    Trouble(
        "MH-FORK-SERVER",
        "The fork server has died",
        ("the fork server has died",),
        "Somebody killed it, or the kernel for memory. The next start makes a new one. If it dies again, a "
        "module of `set_forkserver_preload()` ends it.",
    ),
    Trouble(
        "MH-LIBRARY",
        "libmanyhands says that something is not as it must be",
        ("manyhands._core is not bound to the package",),
        "The name before the colon is the code of the C library (`manyhands/error.h` has all). If your "
        "program did nothing unusual, that is a fault of ours: tell us, with the traceback.",
    ),
    Trouble(
        "MH-COMPARE-INPUT",
        "The comparison does not know what to compare",
        (),
        "The message says what to write. `python -m manyhands compare --help` has examples; a function is "
        "`FILE.py:FUNCTION`, and `--items` is what it is called with.",
    ),
    Trouble(
        "MH-COMPARE-WORK",
        "The function that is compared fails",
        (),
        "Its traceback stands above. Call it with that item by itself until it works: figures of a function "
        "that fails tell nothing.",
    ),
    Trouble(
        "MH-COMPARE-ENGINE",
        "One way of running the function does not work",
        (
            "the function cannot be sent to another process",
            "a worker died at its start",
            "the workers could not be started",
            "a worker cannot load the function",
        ),
        "The other rows stand. A process must import the function: put it at the top of a module, without "
        "work that starts when the module is imported.",
    ),
    Trouble(
        "MH-COMPARE",
        "A comparison cannot go on",
        (),
        "The message says why. `python -m manyhands compare` without a function runs the built-in jobs.",
    ),
    Trouble(
        "MH-DUMP",
        "A program does not tell what it is doing",
        (
            "does not listen: it is no Python program",
            "did not answer within",
        ),
        "It must be a Python program of yours that has imported `manyhands.threading`, or runs under `python "
        "-m manyhands run`. Its main thread answers once it leaves a call of C code: give `--timeout` more.",
    ),
    Trouble(
        "MH-CORE",
        "The compiled core is not usable here",
        ("needs the compiled core, which is not usable here",),
        "The package runs on the standard library alone: another system than Linux, or it was not built for "
        "this Python. `python -m manyhands status` says which. `pip install .` builds it.",
    ),
)
