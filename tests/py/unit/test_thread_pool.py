"""`multiprocessing.pool.ThreadPool`: what the standard library's does, and tasks that wait for each other."""

import itertools
import multiprocessing.pool
import os
import threading
import time

import manyhands
import pytest

if not manyhands.compiled():
    pytest.skip("needs the compiled core", allow_module_level=True)

from manyhands.multiprocessing import dummy
from manyhands.multiprocessing.pool import Pool, ThreadPool

pytestmark = pytest.mark.timeout(60)


def add(a, b=0):
    return a + b


def square(x):
    return x * x


def fail(x):
    raise ValueError(f"bad {x}")


@pytest.fixture
def pool():
    with ThreadPool(2) as made:
        yield made
    made.join()


def test_it_is_ours_and_looks_like_the_standard_librarys(pool):
    assert isinstance(pool, multiprocessing.pool.ThreadPool) and isinstance(pool, Pool)
    assert len(pool._pool) == pool._processes == 2 and "state=RUN pool_size=2" in repr(pool)
    assert all(t.daemon for t in pool._pool)
    with dummy.Pool(1) as other:
        assert type(other) is ThreadPool
    with pytest.raises(ValueError, match="at least 1"):
        ThreadPool(0)


def test_all_ways_to_call(pool):
    squares = [x * x for x in range(50)]
    assert pool.apply(add, (1,), {"b": 2}) == 3
    assert pool.apply_async(add, (1, 2)).get(30) == 3
    for chunk in (None, 1, 7, 100):
        assert pool.map(square, range(50), chunk) == squares
        assert pool.map_async(square, iter(range(50)), chunk).get(30) == squares
        assert pool.starmap(add, [(x, x) for x in range(50)], chunk) == [2 * x for x in range(50)]
        assert pool.starmap_async(add, [(x,) for x in range(50)], chunk).get(30) == list(range(50))
    for chunk in (1, 7):
        assert list(pool.imap(square, range(50), chunk)) == squares
        assert sorted(pool.imap_unordered(square, iter(range(50)), chunk)) == squares
    assert pool.map(square, []) == [] and list(pool.imap(square, [])) == []


def test_what_cannot_be_pickled_is_no_matter(pool):
    lock = threading.Lock()
    assert pool.apply(lambda given: given is lock, (lock,))


def test_exceptions_are_the_very_ones(pool):
    error = KeyError("this one")

    def raise_it():
        raise error

    with pytest.raises(KeyError) as caught:
        pool.apply(raise_it)
    assert caught.value is error
    with pytest.raises(ValueError, match="bad 0"):
        pool.map(fail, range(3), 1)
    with pytest.raises(SystemExit):
        pool.apply(raise_system_exit)
    assert pool.map(square, range(8), 1) == [x * x for x in range(8)]


def raise_system_exit():
    raise SystemExit(3)


def test_imap_is_lazy_and_may_be_endless(pool):
    read = itertools.count()
    iterator = pool.imap(square, read)
    assert [next(iterator) for _ in range(200)] == [x * x for x in range(200)]
    assert next(read) <= 200 + 2 * 16 + 3


def test_callbacks_never_overlap_and_may_wait(pool):
    inside, most, found, done = [], [], [], threading.Event()

    def callback(value):
        inside.append(value)
        most.append(len(inside))
        time.sleep(0.001)
        inside.remove(value)

    results = [pool.apply_async(square, (i,), callback=callback) for i in range(40)]
    for result in results:
        result.get(30)
    assert max(most) == 1 and len(most) == 40

    def waits(value):
        found.append(pool.apply(square, (value,)))
        found.append(pool.map(square, range(20), 1)[-1])
        found.append(list(pool.imap(square, range(20)))[-1])
        done.set()

    pool.apply_async(square, (2,), callback=waits)
    assert done.wait(30)
    assert found == [16, 361, 361]


def test_a_callback_that_raises_is_reported(pool):
    wrong = threading.Event()
    before, threading.excepthook = threading.excepthook, lambda args: wrong.set()
    try:
        pool.apply_async(square, (3,), callback=fail)
        assert wrong.wait(30)
    finally:
        threading.excepthook = before
    assert pool.apply(square, (2,)) == 4


@pytest.mark.parametrize("threads", [1, 2])
def test_tasks_that_wait_for_tasks_of_their_pool(threads):
    """All threads are taken by tasks that wait: what they wait for, they run."""

    def deep(depth):
        if depth == 0:
            return 1
        ways = [
            lambda: pool.apply(deep, (depth - 1,)),
            lambda: sum(pool.map(deep, [depth - 1] * 2, 1)),
            lambda: sum(pool.imap(deep, [depth - 1] * 2)),
            lambda: sum(pool.imap_unordered(deep, [depth - 1])),
        ]
        return ways[depth % 4]()

    with ThreadPool(threads) as pool:
        assert pool.map(deep, [5] * 4, 1) == [8] * 4
    pool.join()


def test_from_many_threads(pool):
    wrong = []

    def ask(seed):
        for i in range(200):
            if pool.apply(square, (seed + i,)) != (seed + i) ** 2:
                wrong.append(i)

    threads = [threading.Thread(target=ask, args=(1000 * seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(50)
        assert not thread.is_alive()
    assert not wrong


def test_close_finishes_all_and_terminate_fails_what_is_left():
    with ThreadPool(2) as pool:
        results = [pool.apply_async(square, (i,)) for i in range(100)]
        lazy = pool.imap(square, range(100))
        pool.close()
        pool.join()
        assert [r.get(0) for r in results] == list(lazy) == [i * i for i in range(100)]
        assert not any(thread.is_alive() for thread in pool._pool)
        with pytest.raises(ValueError, match="not running"):
            pool.apply(square, (1,))
    go = threading.Event()
    with ThreadPool(1) as pool:
        results = [pool.apply_async(go.wait) for _ in range(5)]
        pool.terminate()
        for result in results:
            with pytest.raises(RuntimeError, match="terminated"):
                result.get(30)
        go.set()
        pool.join()


def test_initializer():
    local = threading.local()

    def set_up(word):
        local.word = word

    with ThreadPool(2, set_up, ("ready",)) as pool:
        assert pool.map(lambda _: local.word, range(8), 1) == ["ready"] * 8
    pool.join()
    with ThreadPool(2, fail, ("set-up",)) as pool:
        for ask in (
            lambda: pool.apply(square, (1,)),
            lambda: pool.map(square, range(3)),
            lambda: next(pool.imap(square, [1])),
        ):
            with pytest.raises(ValueError, match="bad set-up"):
                ask()
    pool.join()


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_is_told(pool):
    child = os.fork()
    if child == 0:
        try:
            pool.apply(square, (1,))
        except RuntimeError:
            os._exit(0)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_tasks_that_come_while_it_closes():
    """Each is refused, or done; none is forgotten."""
    for _ in range(20):
        pool, taken, refused = ThreadPool(2), [], threading.Event()

        def ask(pool=pool, taken=taken, refused=refused):
            try:
                while True:
                    taken.append(pool.apply_async(square, (len(taken),)))
            except ValueError:
                refused.set()

        thread = threading.Thread(target=ask)
        thread.start()
        while len(taken) < 20:
            time.sleep(0.001)
        pool.close()
        pool.join()
        assert refused.wait(30)
        thread.join()
        assert [r.get(0) for r in taken] == [i * i for i in range(len(taken))]
