"""JoinableQueue: what is counted, and what a dead consumer had in hand comes again (`redeliver=True`)."""

import os
import pickle
import queue as std_queue
import random
import signal
import threading
import time
from multiprocessing.connection import wait

import manyhands
import mp_helpers as helpers
import pytest

if not manyhands.compiled():
    pytest.skip("needs the compiled core", allow_module_level=True)

from manyhands import CancelToken
from manyhands import multiprocessing as mp
from manyhands.errors import Cancelled, PoisonError
from manyhands.multiprocessing import queues
from manyhands.queue import ShutDown


@pytest.fixture(params=("fork", "spawn", "forkserver"))
def context(request):
    return mp.get_context(request.param)


@pytest.fixture
def fork():
    return mp.get_context("fork")


def kill(process):
    os.kill(process.pid, signal.SIGKILL)
    process.join(30)


def joins(queue):
    """Does it, at once?"""
    return queue._join(0)


def test_what_a_killed_consumer_had_comes_again(context):
    queue, said = context.JoinableQueue(redeliver=True), context.SimpleQueue()
    queue.put_many(range(6))
    process = context.Process(target=helpers.take_and_hold, args=(queue, said, 4, 1))
    process.start()
    assert said.get() == [0, 1, 2, 3]
    assert queue.qsize() == 2
    kill(process)
    assert queue.qsize() == 5
    rest = [queue.get(timeout=10) for _ in range(5)]
    assert rest == [1, 2, 3, 4, 5]  # 0 was done; what comes again comes first, in its order
    assert queue.empty() and not joins(queue)
    for _ in rest:
        queue.task_done()
    queue.join()
    with pytest.raises(ValueError, match="too many times"):
        queue.task_done()


def test_a_consumer_that_waits_already_gets_it(fork):
    queue, said = fork.JoinableQueue(redeliver=True), fork.SimpleQueue()
    queue.put({"a": b"x" * 200_000})
    process = fork.Process(target=helpers.take_and_hold, args=(queue, said, 1, 0))
    process.start()
    said.get()
    got = []
    thread = threading.Thread(target=lambda: got.append(queue.get(timeout=30)))
    thread.start()
    kill(process)
    thread.join(30)
    assert got == [{"a": b"x" * 200_000}]


def test_a_join_hands_it_on(fork):
    """Who joins looks after the dead, too: a consumer that only selects is told."""
    queue, said = fork.JoinableQueue(redeliver=True), fork.SimpleQueue()
    queue.put(7)
    process = fork.Process(target=helpers.take_and_hold, args=(queue, said, 1, 0))
    process.start()
    said.get()
    joined = threading.Thread(target=queue.join)
    joined.start()
    kill(process)
    assert wait([queue], 30) == [queue]
    assert queue.get(block=False) == 7
    queue.task_done()
    joined.join(30)
    assert not joined.is_alive()


def test_numpy_arrays_come_again_whole(fork):
    numpy = pytest.importorskip("numpy")
    queue, said = fork.JoinableQueue(redeliver=True), fork.SimpleQueue()
    array = numpy.arange(300_000.0)
    queue.put(array)
    for _ in range(3):
        process = fork.Process(target=helpers.take_and_hold, args=(queue, said, 1, 0))
        process.start()
        assert (said.get()[0] == array).all()
        kill(process)
    assert (queue.get(timeout=10) == array).all()


def test_a_thread_is_done_with_what_it_took(fork):
    queue = fork.JoinableQueue(redeliver=True)
    queue.put_many("ab")
    process = fork.Process(target=helpers.second_thread_is_done, args=(queue,))
    process.start()
    process.join(30)
    assert process.exitcode == -signal.SIGKILL
    assert queue.get(timeout=10) == "a" and queue.qsize() == 0


def test_only_who_has_it_is_done_with_it(fork):
    queue = fork.JoinableQueue(redeliver=True)
    queue.put(1)
    with pytest.raises(ValueError, match="too many"):
        queue.task_done()
    assert queue._reader.recv() == 1  # the queue's connections lease as well
    process = fork.Process(target=helpers.raises_value_error, args=(queue.task_done,))
    process.start()
    process.join(30)
    assert process.exitcode == 0
    queue.task_done()
    queue.join()


def test_what_does_not_unpickle_is_in_hand(fork):
    queue = fork.JoinableQueue(redeliver=True)
    queue.put(helpers.Unloadable())
    with pytest.raises(RuntimeError, match="unloadable"):
        queue.get()
    assert not joins(queue)
    queue.task_done()
    queue.join()


def test_limits(fork):
    queue = fork.JoinableQueue(2, redeliver=True)
    queue.put_many([1, 2])
    with pytest.raises(std_queue.Full):
        queue.put(3, timeout=0.01)
    assert queue.get() == 1
    queue.put(3, block=False)  # what is in hand is not in the queue
    assert queue.full() and queue.get_many(5) == [2, 3]


def test_shutdown(fork):
    queue = fork.JoinableQueue(redeliver=True)
    queue.put_many([1, 2, 3])
    assert queue.get() == 1
    queue.shutdown()
    assert queue.get() == 2
    queue.shutdown(immediate=True)
    with pytest.raises(ShutDown):
        queue.get()
    assert not joins(queue)
    queue.task_done()
    queue.task_done()
    queue.join()


# ---- with and without


@pytest.fixture(params=(False, True), ids=("plain", "redeliver"))
def queue(request, fork):
    return fork.JoinableQueue(redeliver=request.param)


def test_join_waits_for_all(queue, fork):
    queue.join()
    queue.put_many(range(20))
    process = fork.Process(target=helpers.consume, args=(queue, 20))
    process.start()
    queue.join()
    assert queue.qsize() == 0 and queue._unfinished() == 0
    process.join(30)
    assert process.exitcode == 0


def test_join_is_cancelled(queue):
    queue.put(1)
    token = CancelToken()
    threading.Timer(0.05, token.cancel).start()
    with pytest.raises(Cancelled):
        queue.join(cancel=token)


def test_a_put_that_fails_is_not_counted(queue):
    with pytest.raises(Exception, match="unpicklable"):
        queue.put(helpers.Unpicklable())
    queue.join()


def test_an_immediate_shutdown_ends_a_join(queue):
    queue.put_many([1, 2])
    joined = threading.Thread(target=queue.join)
    joined.start()
    queue.shutdown(immediate=True)
    joined.join(30)
    assert not joined.is_alive()


def test_what_programs_reach_for(queue):
    assert queue._unfinished_tasks._semlock._is_zero()
    queue.put(1)
    assert queue._unfinished_tasks.get_value() == 1


@pytest.mark.parametrize("redeliver", [False, True])
def test_a_killed_producer_owes_nothing(fork, redeliver):
    """Killed anywhere: as many are unfinished as there are in the queue. (Counting first and putting then left a join
    waiting for ever.)"""
    seeded = random.Random(7)
    for _ in range(40):
        queue = fork.JoinableQueue(redeliver=redeliver)
        process = fork.Process(target=helpers.put_for_ever, args=(queue,))
        process.start()
        assert queue.get(timeout=30) is not None
        queue.task_done()
        time.sleep(seeded.random() / 200)
        kill(process)
        left = 0
        while not queue.empty():
            try:
                queue.get(block=False)
            except std_queue.Empty:
                continue
            left += 1
        for _ in range(left):
            queue.task_done()
        assert joins(queue), (left, queue._unfinished())


def test_consumers_are_killed_at_random(fork):
    """Each item is worked on at least once, none is lost, and the join ends."""
    rounds, each, seeded = 20, 20, random.Random(3)
    queue, done, workers = fork.JoinableQueue(redeliver=True), fork.Queue(), []

    def staff():
        while len(workers) < 3:
            workers.append(fork.Process(target=helpers.work_slowly, args=(queue, done)))
            workers[-1].start()

    try:
        for number in range(rounds):
            queue.put_many(range(number * each, (number + 1) * each))
            staff()
            time.sleep(seeded.random() / 100)  # at any point of its work
            kill(workers.pop(seeded.randrange(len(workers))))
        staff()
        assert queue._join(60), queue._unfinished()
    finally:
        for process in workers:
            kill(process)
    times = [0] * (rounds * each)
    while not done.empty():
        times[done.get()] += 1
    assert min(times) >= 1 and queue._unfinished() == 0
    assert sum(times) <= len(times) + rounds  # again only what was in a dead worker's hands


class Fed(queues.JoinableQueue):
    """A feeder of its own: then it is the standard library's queue, and counts as that does."""

    def _feed(self, *args):
        return queues._std.Queue._feed(*args)


def test_a_joinable_queue_with_a_feeder(fork):
    queue = Fed(ctx=fork)
    queue.put([1])
    assert queue.get(timeout=30) == [1] and not queue._unfinished_tasks._semlock._is_zero()
    queue.task_done()
    queue.join()
    queue.close()
    queue.join_thread()


# ---- a limit of deliveries


def die_with_one(context, queue):
    """A consumer takes one item and is killed with it; the item."""
    said = context.SimpleQueue()
    process = context.Process(target=helpers.take_and_hold, args=(queue, said, 1, 0))
    process.start()
    (item,) = said.get()
    kill(process)
    return item


def test_an_item_that_kills_its_consumers_is_given_up(context):
    queue = context.JoinableQueue(redeliver=2)
    queue.put_many([{"poison": 1}, "fine"])
    for _ in range(2):
        assert die_with_one(context, queue) == {"poison": 1}
    with pytest.raises(PoisonError, match="2 consumers died while they had this item") as caught:
        queue.get(timeout=30)
    assert caught.value.deaths == 2 and caught.value.load() == {"poison": 1}
    assert pickle.loads(pickle.dumps(caught.value)).load() == {"poison": 1}
    assert queue.get(timeout=30) == "fine" and queue.empty() and not joins(queue)
    queue.task_done()
    queue.join()
    with pytest.raises(ValueError, match="too many times"):
        queue.task_done()


def test_get_many_meets_it_alone(fork):
    queue = fork.JoinableQueue(redeliver=1)
    queue.put_many(range(4))
    assert die_with_one(fork, queue) == 0
    with pytest.raises(PoisonError, match="a consumer died with it") as caught:
        queue.get_many(10, timeout=30)
    assert caught.value.load() == 0
    assert queue.get_many(10) == [1, 2, 3]
    for _ in range(3):
        queue.task_done()
    queue.join()


def test_those_who_join_are_told(fork):
    queue = fork.JoinableQueue(redeliver=1)
    queue.put("poison")
    die_with_one(fork, queue)
    done = []
    joiner = threading.Thread(target=lambda: (queue.join(), done.append(True)))
    joiner.start()
    with pytest.raises(PoisonError):
        queue.get(timeout=30)
    joiner.join(30)
    assert done == [True]


def test_without_a_limit_it_comes_for_ever(fork):
    queue = fork.JoinableQueue(redeliver=True)
    queue.put("again")
    for _ in range(4):
        assert die_with_one(fork, queue) == "again"
    assert queue.get(timeout=30) == "again"


@pytest.mark.parametrize("limit", [-1, 2**32])
def test_limits_that_are_none(fork, limit):
    with pytest.raises((ValueError, OverflowError)):
        fork.JoinableQueue(redeliver=limit)
