"""multiprocessing on our engines: under every start method, between living processes and beside dying ones."""

import os
import queue as std_queue
import select
import signal
import threading

import manyhands
import mp_helpers as helpers
import pytest

if not manyhands.compiled():
    pytest.skip("needs the compiled core", allow_module_level=True)

from manyhands import OwnerDiedError
from manyhands import multiprocessing as mp

METHODS = ("fork", "spawn", "forkserver")


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
    assert not process.is_alive()
    return process


# ---- queues


def test_items_arrive_in_order(context):
    queue = context.Queue()
    items = [1, "two", (3, None), {"four": 4}, b"5" * 100_000]
    assert run(context, helpers.put_all, queue, items).exitcode == 0
    assert [queue.get(timeout=10) for _ in items] == items
    assert queue.empty() and queue.qsize() == 0


def test_full_and_empty(fork):
    queue = fork.Queue(2)
    queue.put(1)
    queue.put(2)
    assert queue.full() and queue.qsize() == 2
    with pytest.raises(std_queue.Full):
        queue.put(3, timeout=0.01)
    with pytest.raises(std_queue.Full):
        queue.put_nowait(3)
    assert [queue.get(), queue.get()] == [1, 2]
    with pytest.raises(std_queue.Empty):
        queue.get(timeout=0.01)
    with pytest.raises(std_queue.Empty):
        queue.get_nowait()


def test_a_closed_queue_says_so(fork):
    queue = fork.Queue()
    queue.close()
    queue.join_thread()
    for call in (lambda: queue.put(1), queue.get):
        with pytest.raises(ValueError, match="is closed"):
            call()


def test_an_item_outlives_its_killed_producer(fork):
    queue = fork.Queue()

    def put_and_die():
        queue.put(b"x" * 300_000)
        helpers.die()

    assert run(fork, put_and_die).exitcode == -signal.SIGKILL
    assert len(queue.get(timeout=10)) == 300_000


def test_join_before_get_does_not_hang(context):
    queue = context.Queue()
    assert run(context, helpers.put_all, queue, [b"x" * 262_144]).exitcode == 0
    assert len(queue.get(timeout=10)) == 262_144


def test_many_at_once(fork):
    queue = fork.Queue()
    items = [*range(500), {"a": 1}, *range(500, 600)]
    assert queue.put_many(items) == len(items)
    got = []
    while len(got) < len(items):
        got += queue.get_many(100, timeout=10)
    assert got == items
    with pytest.raises(std_queue.Empty):
        queue.get_many(5, block=False)
    with pytest.raises(ValueError, match="1 or more"):
        queue.get_many(0)


class Cracked:
    """Cannot be unpickled."""

    def __reduce__(self):
        return int, ("no number",)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the second is told of
def test_many_at_once_of_which_two_cannot_be_unpickled(fork):
    """They are told of, and the others are not lost."""
    queue = fork.Queue()
    queue.put_many([1, Cracked(), {"a": 2}, Cracked(), b"x" * 200_000])
    with pytest.raises(ValueError, match="no number") as caught:
        queue.get_many(10, timeout=10)
    assert caught.value.received == [1, {"a": 2}, b"x" * 200_000]
    assert queue.empty()


def test_put_many_says_how_many_went_in(fork):
    queue = fork.Queue(10)
    assert queue.put_many(range(30), timeout=0.01) == 10
    with pytest.raises(std_queue.Full):
        queue.put_many([1], block=False)


def test_select_on_a_queue(fork):
    queue = fork.Queue()
    assert select.select([queue], [], [], 0)[0] == []
    process = fork.Process(target=helpers.put_all, args=(queue, [1]))
    process.start()
    assert select.select([queue], [], [], 10)[0] == [queue]
    assert queue.get() == 1
    assert select.select([queue], [], [], 0)[0] == []
    process.join()


def test_two_producers_and_two_consumers_lose_and_double_nothing(fork):
    queue, results = fork.Queue(50), fork.Queue()

    def consume():
        got = []
        while (item := queue.get()) is not None:
            got.append(item)
        results.put(got)

    makers = [
        fork.Process(target=helpers.put_all, args=(queue, [(k, i) for i in range(500)])) for k in range(2)
    ]
    takers = [fork.Process(target=consume) for _ in range(2)]
    for process in makers + takers:
        process.start()
    for process in makers:
        process.join()
    queue.put_many([None, None])
    shares = [results.get(timeout=20) for _ in takers]
    for process in takers:
        process.join()
    assert sorted(shares[0] + shares[1]) == [(k, i) for k in range(2) for i in range(500)]
    for share in shares:
        for k in range(2):
            own = [i for maker, i in share if maker == k]
            assert own == sorted(own), "one producer's items overtook each other"


def test_joinable_queue(fork):
    queue = fork.JoinableQueue()
    queue.put(1)

    def work():
        assert queue.get() == 1
        queue.task_done()

    process = fork.Process(target=work)
    process.start()
    queue.join()
    process.join()
    with pytest.raises(ValueError, match="too many times"):
        queue.task_done()


def test_a_queue_is_only_shared_by_inheritance(fork):
    import pickle

    with pytest.raises(RuntimeError, match="inheritance"):
        pickle.dumps(fork.Queue())


# ---- pipes


def test_objects_and_bytes_through_a_pipe(context):
    near, far = context.Pipe()
    forked = context.get_start_method() == "fork"
    process = context.Process(target=helpers.echo, args=(far, near if forked else None))
    process.start()
    far.close()
    for value in (1, "text", {"a": [1, 2]}, b"x" * 2_000_000):
        near.send(value)
        assert near.recv() == value
    near.close()
    process.join(30)
    assert process.exitcode == 0


def test_pipe_end_of_file_and_direction(fork):
    receiver, sender = fork.Pipe(duplex=False)
    with pytest.raises(OSError, match="read-only"):
        receiver.send(1)
    with pytest.raises(OSError, match="write-only"):
        sender.recv()
    sender.send_bytes(b"last")
    sender.close()
    assert receiver.poll() and receiver.recv_bytes() == b"last"
    with pytest.raises(EOFError):
        receiver.recv()
    receiver.close()
    with pytest.raises(OSError, match="closed"):
        receiver.recv()


def test_sending_to_nobody(fork):
    near, far = fork.Pipe()
    far.close()
    with pytest.raises(BrokenPipeError):
        near.send(1)


def test_a_killed_peer_is_end_of_file(fork):
    near, far = fork.Pipe()
    process = fork.Process(target=helpers.die)
    process.start()
    far.close()
    with pytest.raises(EOFError):
        near.recv()
    process.join()


def test_recv_bytes_into_and_maxlength(fork):
    near, far = fork.Pipe()
    near.send_bytes(b"abcdef")
    room = bytearray(8)
    assert far.recv_bytes_into(room, 1) == 6 and bytes(room) == b"\0abcdef\0"
    near.send_bytes(b"abcdef")
    with pytest.raises(mp.BufferTooShort) as caught:
        far.recv_bytes_into(bytearray(3))
    assert caught.value.args[0] == b"abcdef"
    near.send_bytes(b"abcdef")
    with pytest.raises(OSError):
        far.recv_bytes(3)


def test_wait_on_connections(fork):
    from multiprocessing.connection import wait

    near, far = fork.Pipe()
    assert wait([near], 0) == []
    far.send(1)
    assert wait([near], 10) == [near]
    assert near.recv() == 1 and wait([near], 0) == []


# ---- primitives


def test_a_lock_counts_right(context):
    counter, lock = context.Value("i", 0, lock=False), context.Lock()
    processes = [context.Process(target=helpers.add, args=(counter, lock, 200)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert counter.value == 400


@pytest.mark.parametrize("kind", ["Lock", "RLock"])
def test_the_death_of_an_owner_is_told_until_one_recovers(context, kind):
    lock = getattr(context, kind)()
    assert run(context, helpers.hold_and_die, lock).exitcode == -signal.SIGKILL
    for _ in range(2):
        with pytest.raises(OwnerDiedError) as caught:
            lock.acquire(timeout=10)
        assert isinstance(caught.value, OSError) and caught.value.errno == 130
    assert lock.recover(timeout=10) is True
    assert lock.acquire(block=False) is (kind == "RLock")
    if kind == "RLock":
        lock.release()
    lock.release()
    with lock:
        pass


def test_any_process_may_release_a_lock(context):
    lock = context.Lock()
    lock.acquire()
    assert run(context, helpers.release, lock).exitcode == 0
    assert lock.acquire(timeout=10)
    lock.release()
    with pytest.raises(ValueError, match="too many times"):
        lock.release()


def test_a_recursive_lock_belongs_to_its_thread(fork):
    lock = fork.RLock()
    with lock, lock:
        seen = []
        thread = threading.Thread(target=lambda: seen.append(lock.acquire(timeout=0.01)))
        thread.start()
        thread.join()
        assert seen == [False]
    with pytest.raises(AssertionError, match="not owned"):
        lock.release()


def test_semaphores(fork):
    semaphore = fork.Semaphore(2)
    assert semaphore.acquire() and semaphore.acquire() and not semaphore.acquire(False)
    assert semaphore.get_value() == 0 and not semaphore.acquire(timeout=0.01)
    semaphore.release()
    bounded = fork.BoundedSemaphore(1)
    with pytest.raises(ValueError):
        bounded.release()
    with pytest.raises(ValueError):
        fork.Semaphore(-1)


def test_an_event_wakes_a_process(context):
    event, done = context.Event(), context.Semaphore(0)
    process = context.Process(target=helpers.wait_for, args=(event, done))
    process.start()
    assert not done.acquire(timeout=0.05)
    event.set()
    assert done.acquire(timeout=20)
    process.join()
    event.clear()
    assert not event.is_set() and event.wait(0.01) is False


def test_notify_wakes_as_many_as_it_says(context):
    condition, ready, woken = context.Condition(), context.Semaphore(0), context.Semaphore(0)
    processes = [
        context.Process(target=helpers.wait_condition, args=(condition, ready, woken)) for _ in range(3)
    ]
    for process in processes:
        process.start()
    for _ in processes:
        assert ready.acquire(timeout=30)
    with condition:
        condition.notify(2)
    assert woken.acquire(timeout=20) and woken.acquire(timeout=20) and not woken.acquire(timeout=0.1)
    with condition:
        condition.notify_all()
    assert woken.acquire(timeout=20)
    for process in processes:
        process.join()


def test_the_wake_of_a_waiter_killed_before_it_has_the_lock_goes_to_the_next(fork):
    condition, ready, woken = fork.Condition(), fork.Semaphore(0), fork.Semaphore(0)
    first, second = (
        fork.Process(target=helpers.wait_condition, args=(condition, ready, woken)) for _ in range(2)
    )
    for process in (first, second):
        process.start()
        assert ready.acquire(timeout=30)  # it holds the lock, and lets go of it by waiting
        with condition:
            pass
    with condition:
        condition.notify()  # the first is meant; while this process holds the lock it cannot come back
        first.kill()
        first.join(30)
    assert woken.acquire(timeout=20), "the wake died with the first"
    second.join(30)
    assert second.exitcode == 0


def test_condition_needs_its_lock(fork):
    condition = fork.Condition()
    for call in (condition.wait, condition.notify, condition.notify_all):
        with pytest.raises(AssertionError):
            call()
    with condition:
        assert condition.wait(0.01) is False
        assert condition.wait_for(lambda: False, 0.01) is False


def test_a_barrier_numbers_its_parties(context):
    barrier, results = context.Barrier(3), context.Queue()
    processes = [context.Process(target=helpers.meet, args=(barrier, results)) for _ in range(3)]
    for process in processes:
        process.start()
    assert sorted(results.get(timeout=30) for _ in processes) == [0, 1, 2]
    for process in processes:
        process.join()


def test_a_barrier_breaks_and_mends(fork):
    barrier = fork.Barrier(2)
    with pytest.raises(threading.BrokenBarrierError):
        barrier.wait(0.01)
    assert barrier.broken
    barrier.reset()
    assert not barrier.broken and barrier.n_waiting == 0 and barrier.parties == 2


# ---- processes


def test_pause_stops_and_resume_goes_on(context):
    started, value = context.Event(), context.Value("Q", 0, lock=False)
    process = context.Process(target=helpers.spin, args=(started, value))
    assert process.state == "new"
    process.start()
    assert started.wait(30)
    try:
        assert process.pause(timeout=10) and process.state == "paused"
        before = value.value
        with pytest.raises(std_queue.Empty):
            context.Queue().get(timeout=0.05)
        assert value.value == before
        process.resume()
        while value.value == before:
            os.sched_yield()
        assert process.state == "running" and process.cpu_time > 0 and process.memory > 100_000
    finally:
        process.terminate()
        process.join()
    assert process.state == "finished" and process.exitcode == -signal.SIGTERM
    with pytest.raises(ValueError, match="ended"):
        process.pause()


def test_a_paused_process_can_be_ended(fork):
    process = fork.Process(target=helpers.sleep_for, args=(60,))
    process.start()
    assert process.pause(10)
    process.terminate()
    process.resume()
    process.join(20)
    assert process.exitcode == -signal.SIGTERM


class Doubler(mp.get_context("spawn").Process):
    """A subclass that overrides run(), with state of its own."""

    def __init__(self, number, queue):
        super().__init__()
        self.number, self.queue = number, queue

    def run(self):
        self.queue.put(self.number * 2)


def test_a_subclass_overrides_run():
    queue = mp.get_context("spawn").Queue()
    process = Doubler(21, queue)
    process.start()
    assert queue.get(timeout=30) == 42
    process.join()


def test_nothing_is_left_behind(fork):
    before = set(os.listdir("/dev/shm"))
    queue, lock = fork.Queue(), fork.Lock()
    assert run(fork, helpers.put_all, queue, [b"x" * 100_000]).exitcode == 0
    with lock:
        queue.get()
    assert set(os.listdir("/dev/shm")) == before


def test_methods_of_primitives_as_targets(context):
    event, lock, semaphore = context.Event(), context.Lock(), context.Semaphore(0)
    for target in (event.set, semaphore.release, lock.acquire):
        process = context.Process(target=target)
        process.start()
        process.join(30)
        assert process.exitcode == 0
    assert event.is_set() and semaphore.get_value() == 1
    with pytest.raises(manyhands.OwnerDiedError):
        lock.acquire()
    with pytest.raises(RuntimeError, match="inheritance"):
        context.SimpleQueue().put(event.set)


def test_a_recursive_lock_knows_how_deep_a_thread_is_in():
    lock, seen = mp.RLock(), []

    def take():
        lock.acquire()
        lock.acquire()
        seen.append((lock._semlock._count(), repr(lock)))

    thread = threading.Thread(target=take, name="T1")
    thread.start()
    thread.join()
    assert seen == [(2, "<RLock(MainProcess|T1, 2)>")]
    assert repr(lock) == "<RLock(SomeOtherThread, nonzero)>"
