"""Processes that `os.fork()` made, which nothing of ours prepared: what they put is large, and reaches everyone."""

import subprocess
import sys
import textwrap

import manyhands
import pytest

if not manyhands.compiled():
    pytest.skip("needs the compiled core", allow_module_level=True)

# Each in an interpreter of its own: whether there is an arena before the fork is what these tests are about.
BEGIN = """
import os, sys
from manyhands import multiprocessing as mp
from manyhands._impl import core
context = mp.get_context("fork")
LARGE = 300_000  # far above what goes into the ring

def child(body):
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            body()
            code = 0
        finally:
            os._exit(code)
    return pid

def ended(*pids):
    for pid in pids:
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
"""

QUEUES = {
    "Queue": "queue = context.Queue(); put, get = queue.put, queue.get",
    "JoinableQueue": "queue = context.JoinableQueue(); put, get = queue.put, queue.get",
    "SimpleQueue": "queue = context.SimpleQueue(); put, get = queue.put, queue.get",
    "Pipe": "b, a = context.Pipe(); put, get = a.send, b.recv",
    "one way": "b, a = context.Pipe(False); put, get = a.send, b.recv",
    # one item a call: who takes two in two calls may find another consumer's in between
    "put_many": "queue = context.Queue(); put, get = lambda x: queue.put_many([x]), lambda: queue.get_many(1)[0]",
}


@pytest.fixture(params=QUEUES)
def made(request):
    return QUEUES[request.param]


def run(made, text):
    code = BEGIN + made + textwrap.dedent(text)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "well\n", done.stderr


def test_what_a_forked_child_puts_reaches_its_parent(made):
    run(
        made,
        """
        pid = child(lambda: put(b"x" * LARGE))
        assert get() == b"x" * LARGE
        ended(pid)
        print("well")
        """,
    )


def test_what_a_forked_child_puts_reaches_its_parent_after_its_death(made):
    run(
        made,
        """
        def body():
            put(b"x" * LARGE)
            os.kill(os.getpid(), 9)
        os.waitpid(child(body), 0)
        assert get() == b"x" * LARGE
        assert core.arena_usage() == (0, 0)
        print("well")
        """,
    )


def test_what_a_forked_child_puts_reaches_its_siblings_and_their_children(made):
    run(
        made,
        """
        def take():
            assert get() == b"x" * LARGE
        def take_in_a_child():
            ended(child(take))
        first, second = child(take), child(take_in_a_child)
        third = child(lambda: (put(b"x" * LARGE), put(b"x" * LARGE)))
        ended(first, second, third)
        assert core.arena_usage() == (0, 0)
        print("well")
        """,
    )


def test_what_the_parent_puts_reaches_a_forked_child(made):
    run(
        made,
        """
        def body():
            assert get() == b"x" * LARGE
        pid = child(body)
        put(b"x" * LARGE)
        ended(pid)
        print("well")
        """,
    )


def test_where_there_can_be_no_arena_all_goes_through_the_ring(made):
    """Room for the queue, and none for the arena after it."""
    limit = f"""
import resource
room = {32 if "Pipe" in made else 24} << 20
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
most = resource.getrlimit(resource.RLIMIT_AS)[1]
resource.setrlimit(resource.RLIMIT_AS, (used + room, most))
"""
    run(
        limit + made,
        """
        try:
            core.arena_fd()
        except MemoryError:
            resource.setrlimit(resource.RLIMIT_AS, (most, most))
            assert core.arena_fd() >= 0
            pid = child(lambda: put(b"x" * LARGE))
            assert get() == b"x" * LARGE
            ended(pid)
            assert core.arena_usage() == (0, 0)
            print("well")
        else:
            print("there is an arena: nothing was tried")
        """,
    )
