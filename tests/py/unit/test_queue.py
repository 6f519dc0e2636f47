"""queue.Queue, LifoQueue, PriorityQueue, SimpleQueue: the same body for ours and for the standard library's."""

from __future__ import annotations

import collections
import gc
import math
import queue as std
import sys
import weakref
from typing import Any

import manyhands.queue as ours
import manyhands.threading as threading
import pytest

BOTH = pytest.mark.parametrize("lib", [ours, std], ids=["ours", "stdlib"])
HAS_SHUTDOWN = [ours, *([std] if hasattr(std, "ShutDown") else [])]
SHUTTING = pytest.mark.parametrize("lib", HAS_SHUTDOWN, ids=lambda m: m.__name__)
KINDS = pytest.mark.parametrize("kind", ["Queue", "LifoQueue", "PriorityQueue"])


def expected(kind: str, items: list[int]) -> list[int]:
    return {"Queue": items, "LifoQueue": items[::-1], "PriorityQueue": sorted(items)}[kind]


@BOTH
@KINDS
@pytest.mark.parametrize("exposed", [False, True])
def test_order(lib: Any, kind: str, exposed: bool) -> None:
    q = getattr(lib, kind)()
    items = [5, 3, 9, 1, 7] * 50
    for i, item in enumerate(items):
        q.put(item)
        if exposed and i == 100:
            assert len(q.queue) == 101
    assert q.qsize() == 250
    assert [q.get() for _ in items] == expected(kind, items)
    assert q.empty()


@BOTH
@KINDS
def test_bound(lib: Any, kind: str) -> None:
    q = getattr(lib, kind)(maxsize=2)
    q.put(1)
    assert not q.full()
    q.put(2)
    assert q.full()
    for call in (
        lambda: q.put(3, False),
        lambda: q.put_nowait(3),
        lambda: q.put(3, timeout=0.001),
        lambda: q.put(3, True, 0),
    ):
        with pytest.raises(std.Full):
            call()
    assert q.qsize() == 2
    q.get()
    q.put(3, timeout=5)
    q.maxsize = 3
    q.put(4, False)
    assert q.maxsize == 3


@BOTH
@KINDS
def test_empty(lib: Any, kind: str) -> None:
    q = getattr(lib, kind)()
    for call in (
        lambda: q.get(False),
        q.get_nowait,
        lambda: q.get(timeout=0.001),
        lambda: q.get(True, 0),
        lambda: q.get(block=False, timeout=-1),
    ):
        with pytest.raises(std.Empty):
            call()


@BOTH
def test_bad_arguments(lib: Any) -> None:
    q = lib.Queue(1)
    q.put(0)
    with pytest.raises(TypeError):
        q.put()
    for call in (lambda t: q.put(1, True, t), lambda t: q.put(1, timeout=t)):
        with pytest.raises(ValueError, match="non-negative"):
            call(-1)
        with pytest.raises(TypeError):
            call("1")
        with pytest.raises(OverflowError):
            call(1e100)
    q.get()
    with pytest.raises(ValueError, match="non-negative"):
        q.get(timeout=-0.5)
    with pytest.raises(TypeError):
        q.get(timeout="1")
    with pytest.raises(OverflowError):
        q.get(timeout=1e100)
    with pytest.raises(TypeError):
        q.get(1, 2, 3)
    unbounded = lib.Queue()
    unbounded.put(1, True, -1)  # looked at only where the queue may be full
    assert unbounded.qsize() == 1


def test_nan() -> None:
    with pytest.raises(ValueError, match="NaN"):
        ours.Queue().get(timeout=math.nan)
    with pytest.raises(ValueError, match="NaN"):
        ours.SimpleQueue().get(timeout=math.nan)


@BOTH
@pytest.mark.parametrize("maxsize", [0, -1, 10**30, math.inf])
def test_no_bound_in_practice(lib: Any, maxsize: Any) -> None:
    q = lib.Queue(maxsize)
    for i in range(100):
        q.put_nowait(i)
    assert not q.full()
    assert q.maxsize == maxsize


@BOTH
def test_tasks(lib: Any) -> None:
    q = lib.Queue()
    with pytest.raises(ValueError, match="called too many times"):
        q.task_done()
    for i in range(20):
        q.put(i)
    assert q.unfinished_tasks == 20
    total = []

    def work() -> None:
        while (item := q.get()) is not None:
            total.append(item)
            q.task_done()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    q.join()
    assert sum(total) == 190
    for _ in threads:
        q.put(None)
    for thread in threads:
        thread.join(30)
    assert q.unfinished_tasks == 3


@pytest.mark.parametrize(
    "make", [ours.Queue, lambda: ours.Queue(7), ours.LifoQueue, ours.PriorityQueue, ours.SimpleQueue]
)
def test_nothing_lost_or_doubled(make: Any) -> None:
    q, out, count = make(), [], 1500

    def produce(start: int) -> None:
        for i in range(start, start + count):
            q.put(i)

    def consume() -> None:
        for _ in range(count):
            out.append(q.get(timeout=60))

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        threads = [threading.Thread(target=produce, args=(i * count,)) for i in range(3)]
        threads += [threading.Thread(target=consume) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(90)
    finally:
        sys.setswitchinterval(before)
    assert sorted(out) == list(range(3 * count))


def test_one_producer_keeps_its_order() -> None:
    q, out = ours.Queue(3), []
    thread = threading.Thread(target=lambda: [q.put(i) for i in range(2000)])
    thread.start()
    out = [q.get() for _ in range(2000)]
    thread.join(30)
    assert out == list(range(2000))


# ---- the attributes that programs use ----


@BOTH
def test_the_mutex_keeps_others_out(lib: Any) -> None:
    q = lib.Queue()
    q.put(1)
    done = threading.Event()
    with q.mutex:
        thread = threading.Thread(target=lambda: (q.put(2), done.set()))
        thread.start()
        assert not done.wait(0.05)
        assert list(q.queue) == [1]
        q.queue.clear()
    assert done.wait(30)
    thread.join(30)
    assert q.get() == 2


@BOTH
def test_notify_by_hand(lib: Any) -> None:
    q, out = lib.Queue(), []
    thread = threading.Thread(target=lambda: out.append(q.get(timeout=30)))
    thread.start()
    while not q.not_empty._waiters:
        thread.join(0.001)
    with q.not_empty:
        q.queue.append("by hand")
        q.not_empty.notify()
    thread.join(30)
    assert out == ["by hand"]


@BOTH
def test_the_store_is_what_it_was(lib: Any) -> None:
    q = lib.Queue()
    q.put(1)
    q.put(2)
    assert q.queue == collections.deque([1, 2])
    q.queue.appendleft(0)
    assert [q.get(), q.get(), q.get()] == [0, 1, 2]
    q.queue = collections.deque("ab")
    assert q.qsize() == 2
    assert q.get() == "a"
    assert lib.LifoQueue().queue == []
    assert lib.PriorityQueue().queue == []


@BOTH
def test_conditions_share_the_mutex(lib: Any) -> None:
    q = lib.Queue()
    for name in ("not_empty", "not_full", "all_tasks_done"):
        with getattr(q, name):
            assert q.mutex.locked()
            assert not q.mutex.acquire(False)


@BOTH
def test_a_subclass_with_its_own_store(lib: Any) -> None:
    log = []

    class Unique(lib.Queue):  # type: ignore[misc,name-defined]
        def _init(self, maxsize: int) -> None:
            log.append(maxsize)
            self.queue = set()

        def _put(self, item: Any) -> None:
            assert self.mutex.locked()
            self.queue.add(item)

        def _get(self) -> Any:
            assert self.mutex.locked()
            return self.queue.pop()

    q = Unique(5)
    for item in (1, 1, 1, 2):
        q.put(item)
    assert log == [5]
    assert q.qsize() == 2
    assert {q.get(), q.get_nowait()} == {1, 2}
    with pytest.raises(std.Empty):
        q.get(timeout=0.001)


@BOTH
def test_super_calls_and_qsize(lib: Any) -> None:
    class Weighted(lib.PriorityQueue):  # type: ignore[misc,name-defined]
        def _put(self, item: tuple[int, str]) -> None:
            super()._put((-item[0], item[1]))

        def _get(self) -> str:
            return super()._get()[1]

        def _qsize(self) -> int:
            return super()._qsize()

    q = Weighted(2)
    q.put((1, "light"))
    q.put((2, "heavy"))
    assert q.full()
    assert [q.get(), q.get()] == ["heavy", "light"]


@BOTH
@pytest.mark.parametrize("method", ["_put", "_get", "_qsize"])
def test_a_store_that_raises_leaves_the_queue_usable(lib: Any, method: str) -> None:
    fail = [False]

    def raising(self: Any, *args: Any) -> Any:
        if fail[0]:
            raise ZeroDivisionError
        return getattr(lib.Queue, method)(self, *args)

    q = type("Failing", (lib.Queue,), {method: raising})(2)
    q.put(1)
    fail[0] = True
    with pytest.raises(ZeroDivisionError):
        q.put(2) if method != "_get" else q.get()
    assert not q.mutex.locked()
    fail[0] = False
    assert q.get() == 1


@BOTH
def test_incomparable_items(lib: Any) -> None:
    q = lib.PriorityQueue()
    q.put(1)
    with pytest.raises(TypeError):
        q.put("a")
    assert not q.mutex.locked()
    assert q.get() == 1


@BOTH
def test_nowait_goes_through_redefined_methods(lib: Any) -> None:
    class Logged(lib.Queue):  # type: ignore[misc,name-defined]
        def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
            super().put(("put", item, block), block, timeout)

        def get(self, block: bool = True, timeout: float | None = None) -> Any:
            return "got", super().get(block, timeout)

    q = Logged()
    q.put_nowait(1)
    assert q.get_nowait() == ("got", ("put", 1, False))


# ---- shutdown ----


@SHUTTING
@KINDS
def test_shutdown(lib: Any, kind: str) -> None:
    q = getattr(lib, kind)()
    q.put(1)
    q.shutdown()
    assert q.is_shutdown
    with pytest.raises(lib.ShutDown):
        q.put(2)
    assert q.get() == 1
    for call in (q.get, q.get_nowait, lambda: q.get(timeout=1)):
        with pytest.raises(lib.ShutDown):
            call()
    q.task_done()
    q.join()


@SHUTTING
@KINDS
def test_shutdown_at_once(lib: Any, kind: str) -> None:
    q = getattr(lib, kind)()
    for i in range(3):
        q.put(i)
    waiter = threading.Thread(target=q.join)
    waiter.start()
    q.shutdown(immediate=True)
    waiter.join(30)
    assert not waiter.is_alive()
    assert (q.qsize(), q.unfinished_tasks) == (0, 0)
    with pytest.raises(lib.ShutDown):
        q.get()


@SHUTTING
def test_shutdown_wakes_all(lib: Any) -> None:
    full, empty, out = lib.Queue(1), lib.Queue(), []
    full.put(0)

    def run(call: Any) -> None:
        try:
            call()
        except lib.ShutDown:
            out.append("shut")

    threads = [
        threading.Thread(target=run, args=(c,)) for c in (empty.get, lambda: full.put(1)) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    while len(empty.not_empty._waiters) + len(full.not_full._waiters) < 4:
        threads[0].join(0.001)
    full.shutdown()
    empty.shutdown()
    for thread in threads:
        thread.join(30)
    assert out == ["shut"] * 4


def test_the_exceptions_are_the_stdlibs() -> None:
    assert ours.Empty is std.Empty
    assert ours.Full is std.Full
    assert issubclass(ours.ShutDown, Exception)
    assert "ShutDown" in ours.__all__


# ---- life and death of the objects ----


class Tracked:
    """An item whose death can be seen, and which uses the queue as it dies."""

    alive = 0

    def __init__(self, q: Any = None) -> None:
        Tracked.alive += 1
        self.q = q

    def __del__(self) -> None:
        Tracked.alive -= 1
        if self.q is not None:
            self.q.qsize()


@pytest.mark.parametrize("kind", ["Queue", "LifoQueue", "SimpleQueue"])
def test_items_die_with_the_queue(kind: str) -> None:
    Tracked.alive = 0
    q = getattr(ours, kind)()
    for _ in range(100):
        q.put(Tracked())
    q.get()
    assert Tracked.alive == 99
    q.put(q)  # a cycle
    reference = weakref.ref(q)
    del q
    gc.collect()
    assert (Tracked.alive, reference()) == (0, None)


def test_items_that_use_the_queue_as_they_die() -> None:
    Tracked.alive = 0
    q = ours.Queue()
    for _ in range(50):
        q.put(Tracked(q))
    q.shutdown(immediate=True)
    assert Tracked.alive == 0
    q = ours.Queue()
    q.put(Tracked(q))
    q.queue = collections.deque()
    assert Tracked.alive == 0


def test_a_long_queue_grows_and_gives_back() -> None:
    q = ours.SimpleQueue()
    for turn in range(3):
        for i in range(20_000):
            q.put(i)
        assert [q.get() for _ in range(19_990)] == list(range(19_990))
        assert [q.get() for _ in range(10)] == list(range(19_990, 20_000)), turn
    assert q.empty()


@BOTH
def test_simple_queue(lib: Any) -> None:
    q = lib.SimpleQueue()
    q.put(1)
    q.put(2, False, timeout=-1)
    q.put_nowait(3)
    assert q.qsize() == 3
    assert [q.get(), q.get(timeout=1), q.get_nowait()] == [1, 2, 3]
    assert q.empty()
    for call in (q.get_nowait, lambda: q.get(False), lambda: q.get(timeout=0.001)):
        with pytest.raises(std.Empty):
            call()
    with pytest.raises(ValueError, match="non-negative"):
        q.get(timeout=-1)
    with pytest.raises(TypeError):
        q.put()
    with pytest.raises(TypeError):
        lib.SimpleQueue(1)


def test_simple_queue_put_from_a_destructor() -> None:
    q = ours.SimpleQueue()

    class Echo:
        def __del__(self) -> None:
            q.put("dead")

    q.put(Echo())
    q.get()
    assert q.get() == "dead"


@BOTH
@pytest.mark.parametrize("kind", ["Queue", "LifoQueue", "PriorityQueue", "SimpleQueue"])
def test_generic_alias_and_weak_reference(lib: Any, kind: str) -> None:
    cls = getattr(lib, kind)
    assert cls[int].__origin__ is cls
    q = cls()
    assert weakref.ref(q)() is q


def test_without_init() -> None:
    class Careless(ours.Queue):  # type: ignore[type-arg]
        def __init__(self) -> None:
            pass

    q = Careless()
    q.put(1)
    assert q.get() == 1
