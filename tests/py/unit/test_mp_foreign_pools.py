"""Others' pools on our queues, locks and processes: the standard library's own Pool and ProcessPoolExecutor, which
reach for `_reader`, `_writer`, `_rlock` and end of file, and loky."""

import concurrent.futures
import os
import signal
import subprocess
import sys
import time
from multiprocessing.connection import wait

import manyhands
import mp_helpers as helpers
import pytest

if not manyhands.compiled():
    pytest.skip("needs the compiled core", allow_module_level=True)

import multiprocessing.pool
import multiprocessing.resource_sharer

from manyhands import multiprocessing as mp


@pytest.fixture(params=("fork", "spawn", "forkserver"))
def context(request):
    return mp.get_context(request.param)


def test_the_standard_pool(context):
    with multiprocessing.pool.Pool(2, context=context) as pool:
        assert (
            type(pool._inqueue).__module__.startswith("manyhands.") or pool._inqueue._reader._end is not None
        )
        assert pool.map(helpers.square, range(100), chunksize=3) == [n * n for n in range(100)]
        assert sorted(pool.imap_unordered(helpers.square, range(20))) == sorted(n * n for n in range(20))
        assert list(pool.imap(helpers.square, range(20))) == [n * n for n in range(20)]
        assert pool.apply(helpers.square, (9,)) == 81
        with pytest.raises(ZeroDivisionError):
            pool.apply(helpers.divide, (1, 0))
        large = b"x" * 3_000_000
        assert pool.apply(helpers.same, (large,)) == large
        asked = [pool.apply_async(helpers.square, (n,)) for n in range(10)]
        assert [a.get(30) for a in asked] == [n * n for n in range(10)]
        pool.close()
        pool.join()


def test_the_standard_pool_is_terminated_at_work(context):
    pool = multiprocessing.pool.Pool(2, context=context)
    pool.map_async(time.sleep, [60] * 4)
    started = time.monotonic()
    pool.terminate()
    pool.join()
    assert time.monotonic() - started < 20


def test_workers_of_the_standard_pool_are_replaced(context):
    with multiprocessing.pool.Pool(1, maxtasksperchild=2, context=context) as pool:
        assert len(set(pool.map(helpers.pid_of, range(6), chunksize=1))) == 3


def test_the_standard_executor(context):
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as executor:
        assert list(executor.map(helpers.square, range(50))) == [n * n for n in range(50)]
        future = executor.submit(helpers.divide, 1, 0)
        assert isinstance(future.exception(30), ZeroDivisionError)
        large = b"y" * 3_000_000
        assert executor.submit(helpers.same, large).result(30) == large


def test_the_standard_executor_notices_a_death(context):
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as executor:
        assert executor.submit(helpers.square, 3).result(30) == 9
        future = executor.submit(os._exit, 7)
        with pytest.raises(concurrent.futures.process.BrokenProcessPool):
            future.result(30)


def test_the_workers_of_a_killed_program_end(context):
    """They read end of file: the killed one was the last who could put something in."""
    code = f"""if True:
        import sys, time, multiprocessing.pool
        sys.path.insert(0, {os.path.dirname(helpers.__file__)!r})
        from manyhands import multiprocessing as mp
        import mp_helpers as helpers
        if __name__ == "__main__":
            pool = multiprocessing.pool.Pool(2, context=mp.get_context({context.get_start_method()!r}))
            pids = set()
            while len(pids) < 2:
                pids |= set(pool.map(helpers.pid_of, range(20), chunksize=1))
            print(*pids, flush=True)
            time.sleep(60)
    """
    program = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    workers = [os.pidfd_open(int(pid)) for pid in program.stdout.readline().split()]
    assert len(workers) == 2
    os.kill(program.pid, signal.SIGKILL)
    program.wait(30)
    program.stdout.close()
    left, end = set(workers), time.monotonic() + 20
    while left and time.monotonic() < end:
        left -= set(wait(left, 1))
    for pidfd in workers:
        os.close(pidfd)
    assert not left


def test_loky():
    loky = pytest.importorskip("joblib.externals.loky")
    code = """if True:
        import manyhands
        manyhands.install()
        import multiprocessing
        from joblib import Parallel, delayed
        from math import sqrt
        assert multiprocessing.__name__ == "manyhands.multiprocessing"
        if __name__ == "__main__":
            assert Parallel(2)(delayed(sqrt)(n * n) for n in range(50)) == list(range(50))
            print("done")
    """
    assert loky is not None
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout == "done\n", done.stderr


# ---- what they rely on


def test_end_of_file_of_a_simple_queue(context):
    """Held by two processes, one of which is killed and the other ends; seen by who waits and by who selects."""
    queue = context.SimpleQueue()
    killed = context.Process(target=helpers.put_and_die, args=(queue, [1, {"two": 2}]))
    ended = context.Process(target=helpers.put_all, args=(queue, [3]))
    killed.start()
    ended.start()
    queue._writer.close()
    got = [queue.get() for _ in range(3)]
    assert sorted(got, key=str) == [1, 3, {"two": 2}]
    killed.join(30)
    ended.join(30)
    assert wait([queue._reader], 30) == [queue._reader] and queue._reader.poll()
    with pytest.raises(EOFError):
        queue.get()
    with pytest.raises(EOFError):
        queue._reader.recv_bytes()


def test_a_sleeping_reader_sees_the_last_writer_close():
    import threading

    queue, seen = mp.SimpleQueue(), []

    def read():
        try:
            queue.get()
        except EOFError:
            seen.append("end of file")

    thread = threading.Thread(target=read)
    thread.start()
    queue._writer.close()
    thread.join(20)
    assert seen == ["end of file"]


def test_a_simple_queue_that_a_process_sends_on(context):
    """A connection to a queue goes through another connection, and holds the end of file off."""
    queue, (near, far) = context.SimpleQueue(), context.Pipe()
    process = context.Process(target=helpers.send_to_received, args=(far, "hello"))
    process.start()
    near.send(queue._writer)
    queue._writer.close()
    assert queue.get() == "hello"
    process.join(30)
    with pytest.raises(EOFError):
        queue.get()
    multiprocessing.resource_sharer.stop()


def test_it_keeps_no_descriptors():
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(10):
        queue = mp.SimpleQueue()
        queue.fileno()
        queue.put(1)
    del queue
    assert len(os.listdir("/proc/self/fd")) <= before + 2
