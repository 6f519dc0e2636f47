"""Queues between processes: what is promised of each kind, and what programs that reach inside of them find."""

import asyncio
import importlib
import os
import queue as std_queue
import signal
import threading
from multiprocessing.connection import wait

import manyhands
import mp_helpers as helpers
import pytest

if not manyhands.compiled():
    pytest.skip("needs the compiled core", allow_module_level=True)

from manyhands import multiprocessing as mp
from manyhands.multiprocessing import queues
from manyhands.queue import ShutDown

METHODS = ("fork", "spawn", "forkserver")


class Unpicklable:
    def __reduce__(self):
        raise AttributeError("no")


@pytest.fixture(params=METHODS)
def context(request):
    return mp.get_context(request.param)


@pytest.fixture
def fork():
    return mp.get_context("fork")


def run(context, target, *args):
    process = context.Process(target=target, args=args)
    process.start()
    process.join(30)
    assert process.exitcode == 0


# ---- SimpleQueue


def test_a_simple_queue_between_processes(context):
    there, back = context.SimpleQueue(), context.SimpleQueue()
    assert isinstance(there, queues.SimpleQueue) and there.empty()
    for item in (1, {"two": 2}, b"3" * 200_000, None):
        there.put(item)
    run(context, helpers.pass_on, there, back)
    assert [back.get() for _ in range(3)] == [1, {"two": 2}, b"3" * 200_000]
    assert back.empty() and there.empty()


def test_a_simple_queue_raises_what_pickling_raises(fork):
    queue = fork.SimpleQueue()
    with pytest.raises(AttributeError, match="no"):
        queue.put(Unpicklable())
    queue.put("next")
    assert queue.get() == "next"


def test_a_closed_simple_queue(fork):
    queue = fork.SimpleQueue()
    queue.close()
    queue.close()
    for call in (queue.empty, queue.get, lambda: queue.put(1)):
        with pytest.raises(OSError, match="closed"):
            call()


def test_simple_queues_are_shared_by_inheritance_only(fork):
    import pickle

    with pytest.raises(RuntimeError, match="inheritance"):
        pickle.dumps(fork.SimpleQueue())


def test_a_simple_queue_keeps_its_descriptors_no_longer_than_itself(fork):
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        queue = fork.SimpleQueue()
        queue.put(1)
        assert queue.get() == 1
    del queue
    assert len(os.listdir("/proc/self/fd")) <= before + 2  # the slab of the locks


# ---- what programs reach for inside


def test_reader_and_writer_are_the_queue(fork):
    for queue in (fork.Queue(), fork.JoinableQueue(), fork.SimpleQueue()):
        queue._writer.send({"a": 1})
        assert queue._reader.poll() and wait([queue._reader], 10) == [queue._reader]
        assert queue.get() == {"a": 1}
        queue.put([2])
        assert queue._reader.recv() == [2] and not queue._reader.poll() and wait([queue._reader], 0) == []
        import pickle

        queue._writer.send_bytes(pickle.dumps("three"))
        assert queue.get() == "three"
        queue.put("four")
        assert pickle.loads(queue._reader.recv_bytes()) == "four"
        with queue._rlock, queue._wlock:
            queue.put(5)
            assert queue.get() == 5
        assert queue._reader is queue._reader


def test_reader_and_writer_have_a_direction_and_close(fork):
    queue = fork.Queue()
    with pytest.raises(OSError, match="read-only"):
        queue._reader.send(1)
    with pytest.raises(OSError, match="write-only"):
        queue._writer.recv()
    queue._reader.close()
    with pytest.raises(OSError, match="closed"):
        queue._reader.recv()


def test_the_semaphore_tells_the_room(fork):
    queue = fork.Queue(2)
    assert queue._sem._semlock._get_value() == 2 and not queue._sem._semlock._is_zero()
    queue.put(1)
    queue.put(2)
    assert queue._sem._semlock._is_zero() and not queue._sem.acquire(False)
    queue._reader.recv()
    queue._sem.release()
    assert queue._sem.get_value() == 1


def test_a_queue_whose_ends_are_wrapped(fork):
    """As torch.multiprocessing does it."""

    class Wrapper:
        def __init__(self, connection):
            self.connection = connection

        def recv(self):
            return "wrapped", self.connection.recv()

        def __getattr__(self, name):
            return getattr(self.connection, name)

    class Wrapped(queues.SimpleQueue):
        def __init__(self, *, ctx):
            super().__init__(ctx=ctx)
            self._reader, self._writer = Wrapper(self._reader), Wrapper(self._writer)

    simple = Wrapped(ctx=fork)
    simple.put(1)
    assert simple.get() == ("wrapped", 1)
    queue = fork.Queue()
    queue._reader = Wrapper(queue._reader)
    queue.put(2)
    assert queue._reader.recv() == ("wrapped", 2)


class Fed(queues.Queue):
    """As joblib's loky: a feeder of its own, and state by the names of the standard library's queue."""

    def __init__(self, maxsize=0, *, ctx):
        super().__init__(maxsize, ctx=ctx)
        self.fed_by_hand = []

    def __getstate__(self):
        names = "_ignore_epipe _maxsize _reader _writer _rlock _wlock _sem _opid"
        return [getattr(self, name) for name in names.split()]

    def __setstate__(self, state):
        names = "_ignore_epipe _maxsize _reader _writer _rlock _wlock _sem _opid"
        for name, value in zip(names.split(), state, strict=True):
            setattr(self, name, value)
        self.fed_by_hand = []
        self._reset()

    def _start_thread(self):
        self.fed_by_hand.append(threading.get_ident())
        super()._start_thread()


def test_a_subclass_with_a_feeder_of_its_own_is_fed_by_it(context):
    there, back = Fed(ctx=context), Fed(3, ctx=context)
    assert isinstance(there, queues.Queue)
    for item in (1, [2], b"3" * 100_000, None):
        there.put(item)
    assert there.fed_by_hand
    process = context.Process(target=helpers.pass_on, args=(there, back))
    process.start()
    assert [back.get(timeout=30) for _ in range(3)] == [1, [2], b"3" * 100_000]
    process.join(30)  # after the gets: such a queue has a feeder to wait for
    assert process.exitcode == 0
    for queue in (there, back):
        queue.close()
        queue.join_thread()


def test_a_subclass_is_told_of_what_cannot_be_pickled(fork):
    told = []

    class Told(queues.Queue):
        def _on_queue_feeder_error(self, e, obj):
            told.append((e, obj))

    queue, odd = Told(1, ctx=fork), Unpicklable()
    queue.put(odd)
    assert [(type(e), obj) for e, obj in told] == [(AttributeError, odd)] and queue.empty()
    queue.put(1)
    with pytest.raises(std_queue.Full):
        queue.put(2, block=False)
    assert len(told) == 1


# ---- promises


def test_shutdown_is_for_all_processes(context):
    queue = context.Queue()
    queue.put(1)
    run(context, helpers.shut_down, queue)
    assert queue.is_shutdown
    with pytest.raises(ShutDown):
        queue.put(2)
    assert queue.get() == 1
    with pytest.raises(ShutDown):
        queue.get()
    with pytest.raises(EOFError):
        queue._reader.recv()


def test_immediate_shutdown_throws_away_and_wakes(fork):
    queue, waiting = fork.Queue(1), []
    queue.put(1)

    def put():
        try:
            queue.put(2)
        except ShutDown as error:
            waiting.append(error)

    thread = threading.Thread(target=put)
    thread.start()
    queue.shutdown(immediate=True)
    thread.join(20)
    assert len(waiting) == 1 and queue.qsize() == 0
    with pytest.raises(ShutDown):
        queue.get()


def test_an_unbounded_queue_grows_to_its_limit_and_says_so():
    """In a process that may use little address space, so that the limit is near."""
    import subprocess
    import sys

    code = """if True:
        import resource
        resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
        from manyhands import multiprocessing as mp
        queue, piece, count = mp.Queue(), b"x" * 30_000, 0
        try:
            while True:
                queue.put(piece)
                count += 1
        except MemoryError as error:
            assert "limit" in str(error)
        assert queue.qsize() == count > 1000
        assert all(queue.get() == piece for _ in range(count)) and queue.empty()
        queue.put(1)
        print("grown")
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout == "grown\n", done.stderr


def test_a_queue_in_asyncio(fork):
    queue = fork.Queue()

    async def first():
        loop, there = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(queue, there.set)
        process = fork.Process(target=helpers.put_all, args=(queue, ["hello"]))
        process.start()
        await asyncio.wait_for(there.wait(), 30)
        loop.remove_reader(queue)
        process.join()
        return queue.get_nowait()

    assert asyncio.run(first()) == "hello"


def test_wait_for_several_queues_and_a_connection(fork):
    first, second, (near, far) = fork.Queue(), fork.SimpleQueue(), fork.Pipe()
    assert wait([first, second, near], 0) == []
    second.put(1)
    assert wait([first, second, near], 10) == [second]
    far.send(1)
    first.put(1)
    assert set(wait([first, second, near], 10)) == {first, second, near}


def test_qsize_and_empty_are_exact_at_once(fork):
    queue = fork.Queue()
    for n in range(1, 200):
        queue.put(n)
        assert queue.qsize() == n and not queue.empty()
    for n in range(199, 0, -1):
        queue.get()
        assert queue.qsize() == n - 1 and queue.empty() == (n == 1)


# ---- descriptors and foreign processes


def test_a_descriptor_through_a_pipe(context):
    from manyhands.multiprocessing import reduction

    near, far = context.Pipe()
    process = context.Process(target=helpers.write_to_received, args=(far,))
    process.start()
    reader, writer = os.pipe()
    reduction.send_handle(near, writer, process.pid)
    os.close(writer)
    near.send("to the descriptor")
    process.join(30)
    assert process.exitcode == 0 and os.read(reader, 100) == b"to the descriptor"
    os.close(reader)
    assert near.poll(10) and near.recv() == "done"


def test_a_descriptor_keeps_its_place_between_messages(fork):
    from manyhands.multiprocessing import reduction

    near, far = fork.Pipe()
    assert wait([far], 0) == []
    reader, writer = os.pipe()
    reduction.send_handle(near, writer, os.getpid())
    near.send("after it")
    got = reduction.recv_handle(far)
    assert wait([far], 10) == [far] and far.recv() == "after it" and wait([far], 0) == []
    near.send("before it")
    reduction.send_handle(near, writer, os.getpid())
    assert far.recv() == "before it"
    for fd in (got, reduction.recv_handle(far), reader, writer):
        os.close(fd)
    near.send("instead of it")
    with pytest.raises(RuntimeError, match="message comes before"):
        reduction.recv_handle(far)
    assert far.recv() == "instead of it"
    near.close()
    with pytest.raises(EOFError):
        reduction.recv_handle(far)


def test_blocks_of_another_tree_are_refused(fork):
    """A message that names shared memory is not for a process that has other shared memory."""
    import subprocess
    import sys

    queue = fork.Queue()
    queue.put(b"x" * 100_000)
    fd, bell, name, maxsize = queue._handle()
    code = f"""if True:
        from manyhands.multiprocessing import queues
        queue = queues.Queue.__new__(queues.Queue)
        queue._attach({fd}, {bell}, {name}, {maxsize})
        for _ in range(2):
            try:
                print(len(queue.get()))
            except RuntimeError as error:
                print("refused", "another tree" in str(error))
    """
    queue._share_outside()
    queue.put(b"y" * 100_000)
    done = subprocess.run(
        [sys.executable, "-c", code], pass_fds=[fd, bell], capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "refused True\n100000\n", done.stderr


def test_a_killed_reader_holds_nobody_up(fork):
    queue, ready = fork.SimpleQueue(), fork.Event()

    def read():
        ready.set()
        queue.get()

    process = fork.Process(target=read)
    process.start()
    assert ready.wait(20)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    queue.put("still here")
    assert queue.get() == "still here"


def test_a_simple_queue_without_a_reader_breaks(context):
    queue, go = context.SimpleQueue(), context.Event()
    reader = context.Process(target=helpers.hold_reader, args=(queue, go))
    reader.start()
    queue._reader.close()
    queue.put(1)  # the child has the reading end
    go.set()
    reader.join(30)
    with pytest.raises(BrokenPipeError):
        queue.put(2)
    queue.close()


@pytest.mark.parametrize("package", ["multiprocessing", "manyhands.multiprocessing"])
def test_a_queue_has_no_end_of_file_as_long_as_one_has_it(package):
    """Who can get can put, too: where all the others are gone a get waits on, here as in the standard library."""
    fork = importlib.import_module(package).get_context("fork")
    queue = fork.Queue()
    process = fork.Process(target=queue.put, args=(1,))
    process.start()
    process.join(30)
    assert process.exitcode == 0 and queue.get(timeout=30) == 1
    with pytest.raises(std_queue.Empty):
        queue.get(timeout=0.1)
    queue.close()
