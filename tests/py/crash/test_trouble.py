"""A system in trouble: no descriptors, no processes, a full /dev/shm, a peer that stands still. A clear error, or
waiting; and what was there before works on."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import textwrap
import time

import manyhands
import pytest

if not manyhands.compiled():
    pytest.skip("needs the compiled core", allow_module_level=True)

from manyhands import multiprocessing as mp

BEGIN = """
import os, sys, errno, resource
from manyhands import multiprocessing as mp
context = mp.get_context("fork")
def echo(there, back):
    back.put(there.get())
"""


def run(text: str, *before: str) -> str:
    """What such a program prints."""
    code = BEGIN + textwrap.dedent(text)
    if before:  # another user, say, may not read the folders in which the interpreter and the package lie
        asked = [*before, sys.executable, "-c", "import os, manyhands.multiprocessing"]
        able = subprocess.run(asked, capture_output=True, text=True, timeout=60)
        if able.returncode != 0:
            pytest.skip(f"cannot be tried here: {able.stderr.strip()[-200:]}")
    done = subprocess.run([*before, sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stderr == "", done.stderr
    return done.stdout


@pytest.mark.parametrize("what", ["Queue", "SimpleQueue", "JoinableQueue", "Pipe", "Process"])
def test_no_descriptor_left(what: str) -> None:
    said = run(f"""
        there, back = context.Queue(), context.Queue()
        kept = []
        resource.setrlimit(resource.RLIMIT_NOFILE, (80, 80))
        try:
            while True:
                kept.append(os.open("/dev/null", os.O_RDONLY))
        except OSError:
            pass
        for _ in range(3):
            try:
                if {what!r} == "Process":
                    context.Process(target=echo, args=(there, back)).start()
                else:
                    context.{what}()
                print("made")
            except OSError as error:
                print(errno.errorcode[error.errno])
        there.put(b"x" * 100_000)
        assert there.get() == b"x" * 100_000
        while kept:
            os.close(kept.pop())
        process = context.Process(target=echo, args=(there, back))
        process.start()
        there.put("well")
        print(back.get())
        process.join()
    """)
    assert said == "EMFILE\n" * 3 + "well\n"


def test_no_process_can_be_made() -> None:
    """RLIMIT_NPROC does not bind root: the program runs as another user."""
    said = run(
        """
        there, back = context.Queue(), context.Queue()
        resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
        for _ in range(3):
            try:
                context.Process(target=echo, args=(there, back)).start()
                print("started")
            except OSError as error:
                print(errno.errorcode[error.errno])
        from manyhands._impl import core
        there.put(b"x" * 100_000)
        assert there.get() == b"x" * 100_000
        assert core.arena_usage() == (0, 0) and mp.active_children() == []
        print("well")
        """,
        "setpriv",
        "--reuid=65534",
        "--clear-groups",
    )
    assert said == "EAGAIN\n" * 3 + "well\n"


def test_a_full_dev_shm() -> None:
    """Ours is anonymous and does not notice; what has a name, as the standard library's, says that there is no room."""
    inner = 'mount -t tmpfs -o size=64k none /dev/shm && head -c 65536 /dev/zero > /dev/shm/full; exec "$@"'
    said = run(
        """
        there, back = context.Queue(), context.Queue()
        process = context.Process(target=echo, args=(there, back))
        process.start()
        there.put(b"x" * 1_000_000)
        assert back.get() == b"x" * 1_000_000
        process.join()
        print("well")
        """,
        *("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", inner, "sh"),
    )
    assert said == "well\n"


GIVES = """
import builtins
from manyhands import Executor
def give(kind, size):
    return {"bytes": bytes(size), "str": "x" * size, "list": [bytes(size)], "object": {"it": bytes(size)}}[kind]
builtins.give = give
def room(left):
    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + left if left else resource.RLIM_INFINITY, resource.RLIM_INFINITY))
SIZE = 200_000_000
"""


@pytest.mark.parametrize("engine", ["context.Pool(1)", "Executor('processes', max_workers=1)"])
@pytest.mark.parametrize("kind", ["bytes", "str", "list", "object"])
def test_a_result_for_which_there_is_no_memory_fails_alone(kind: str, engine: str) -> None:
    said = run(
        GIVES
        + f"""
with {engine} as made:
    submit = getattr(made, "submit", None) or (lambda f, *args: made.apply_async(f, args))
    result = lambda future: (getattr(future, "result", None) or future.get)(30)
    assert len(result(submit(give, {kind!r}, 10))) in (1, 10)
    room(50_000_000)
    try:
        result(submit(give, {kind!r}, SIZE))
        print("there was room")
    except MemoryError:
        print("MemoryError")
    print(result(submit(abs, -3)))
    room(0)
    print(len(result(submit(give, {kind!r}, SIZE))) in (1, SIZE))
"""
    )
    assert said == "MemoryError\n3\nTrue\n"


@pytest.mark.parametrize("kind", ["Queue", "SimpleQueue", "JoinableQueue", "Pipe"])
def test_a_message_for_which_there_is_no_memory_is_passed_over(kind: str) -> None:
    said = run(
        GIVES
        + f"""
def feed(put):
    put(bytes(SIZE))
    put("after")
made = context.{kind}()
put, get = (made[1].send, made[0].recv) if {kind!r} == "Pipe" else (made.put, made.get)
process = context.Process(target=feed, args=(put,))
process.start()
process.join()
room(50_000_000)
try:
    get()
except MemoryError:
    print("MemoryError", get())
room(0)
put(bytes(SIZE))
print(len(get()) == SIZE)
from manyhands._impl import core
print(core.arena_usage())
"""
    )
    assert said == "MemoryError after\nTrue\n(0, 0)\n"


def consume(queue, taken):
    while True:
        taken.put(queue.get())


def test_a_consumer_that_stands_still_holds_nobody_up() -> None:
    context = mp.get_context("fork")
    queue, taken = context.Queue(), context.Queue()
    consumers = [context.Process(target=consume, args=(queue, taken), daemon=True) for _ in range(2)]
    for consumer in consumers:
        consumer.start()
    for number in range(10):
        queue.put(number)
    assert sorted(taken.get(timeout=30) for _ in range(10)) == list(range(10))
    consumers[0].pause()  # outside of every section
    try:
        start = time.monotonic()
        for number in range(100):
            queue.put(number)
        assert sorted(taken.get(timeout=30) for _ in range(100)) == list(range(100))
        assert time.monotonic() - start < 10
    finally:
        consumers[0].resume()
    queue.put("both go on")
    assert taken.get(timeout=30) == "both go on"
    for consumer in consumers:
        consumer.kill()
        consumer.join(30)


def hold(lock, held):
    with lock:
        held.set()
        signal.pause()


@pytest.mark.parametrize("kind", ["Lock", "RLock", "RWLock"])
def test_an_owner_that_stands_still_is_waited_for(kind: str) -> None:
    context = mp.get_context("fork")
    lock, held = getattr(context, kind)(), context.Event()
    side = lock.write if kind == "RWLock" else lock
    holder = context.Process(target=hold, args=(side, held), daemon=True)
    holder.start()
    assert held.wait(30)
    os.kill(holder.pid, signal.SIGSTOP)
    assert side.acquire(timeout=0.3) is False if kind != "RWLock" else not lock.acquire_write(timeout=0.3)
    holder.kill()
    holder.join(30)
    with pytest.raises(OSError) as raised:
        lock.acquire_write(timeout=30) if kind == "RWLock" else lock.acquire(timeout=30)
    assert raised.value.errno == errno.EOWNERDEAD
    assert lock.recover(timeout=30)
    lock.release_write() if kind == "RWLock" else lock.release()
