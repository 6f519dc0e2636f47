"""No call of the compiled core keeps anything: a loop over each, and the memory and references after it as before.

The table must be complete: a public type, method, attribute or function that no row calls fails a test.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import operator
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import manyhands
import pytest

if not manyhands.compiled():
    pytest.skip("there is no compiled core here", allow_module_level=True)
import manyhands.futures
import manyhands.multiprocessing
import manyhands.queue
import manyhands.threading
from leak_helpers import MARK, ROWS, failing, growth, leaks, row
from manyhands import _core as core
from manyhands._impl import messages  # noqa: F401  # binds pickling to the core


@row(
    "Lock: __new__ __repr__ __enter__ __exit__ acquire release locked "
    "acquire_lock release_lock locked_lock owner _at_fork_reinit"
)
def lock() -> None:
    made = core.allocate_lock()
    with made:
        assert (
            not made.acquire(timeout=0) and made.locked() and made.locked_lock() and made.owner and repr(made)
        )
    assert made.acquire_lock() and made.release_lock() is None
    made.acquire()
    made._at_fork_reinit()
    failing(made.release)
    failing(made.acquire, MARK, MARK)
    failing(type(made))  # refused before 3.13


@row("RLock: __new__ __repr__ __init__ __enter__ __exit__ acquire release locked owner")
def rlock() -> None:
    made = core.RLock()
    made.__init__()
    with made:
        assert made.acquire() and made.locked() and made.owner and repr(made)
        made.release()
    failing(made.release)


@row("RLock: _is_owned _recursion_count _release_save _acquire_restore _at_fork_reinit")
def rlock_state() -> None:
    made = core.RLock()
    made.acquire()
    assert made._is_owned() and made._recursion_count() == 1
    made._acquire_restore(made._release_save())
    failing(made._acquire_restore, MARK)
    made._at_fork_reinit()
    failing(made._release_save)


@row(
    "Condition: __new__ __repr__ __init__ acquire release locked __enter__ __exit__ wait wait_for notify notify_all"
)
def condition() -> None:
    made = core.Condition()
    with made:
        made.wait(0)
        made.wait_for(lambda: MARK, 0)
        made.notify(1)
        made.notify_all()
        assert made.locked() and repr(made)
    made.acquire(), made.release()
    failing(made.notify, 1)
    failing(made.wait, MARK)
    failing(core.Condition, MARK)


@row("Condition: notifyAll _is_owned _release_save _acquire_restore _at_fork_reinit _lock _waiters")
def condition_state() -> None:
    made = core.Condition(core.RLock())
    made.acquire()
    assert made._is_owned() and made._lock is not None
    with contextlib.suppress(DeprecationWarning):
        made.notifyAll()
    made._acquire_restore(made._release_save())
    assert len(made._waiters) == 0
    made._at_fork_reinit()


def semaphore_of(cls: Any) -> None:
    made = cls(1)
    with made:
        assert not made.acquire(False) and repr(made)
    made._at_fork_reinit()
    assert made._value == 1 and made._cond is not None
    failing(made.acquire, MARK, MARK)
    failing(cls, MARK)


@row("Semaphore: __new__ __repr__ __init__ acquire release __enter__ __exit__ _at_fork_reinit _value _cond")
def semaphore() -> None:
    semaphore_of(core.Semaphore)


@row("BoundedSemaphore: __repr__ release _initial_value")
def bounded_semaphore() -> None:
    semaphore_of(core.BoundedSemaphore)
    made = core.BoundedSemaphore(1)
    assert made._initial_value == 1
    failing(made.release)


@row("Event: __new__ __repr__ __init__ is_set isSet set clear wait _at_fork_reinit _flag _cond")
def event() -> None:
    made = core.Event()
    assert not made.wait(0) and repr(made)
    made.set()
    with contextlib.suppress(DeprecationWarning):
        assert made.isSet()
    assert made.is_set() and made._flag and made._cond and made.wait()
    made.clear()
    made._at_fork_reinit()
    failing(made.wait, MARK)


@row(
    "Barrier: __new__ __repr__ __init__ wait reset abort "
    "_action _timeout parties n_waiting broken _parties _count"
)
def barrier() -> None:
    made = core.Barrier(1, lambda: MARK, 5)
    assert made.wait() == 0 and repr(made) and made.parties == made._parties == 1
    assert made._action and made._timeout == 5 and made._count == made.n_waiting == 0
    made.abort()
    assert made.broken
    failing(made.wait)
    made.reset()
    failing(core.Barrier(1, lambda: failing(MARK)).wait)
    failing(core.Barrier(2).wait, 0)


@row(
    "RWLock: __new__ __repr__ __init__ acquire_read acquire_write release_read release_write "
    "_at_fork_reinit read write readers writing"
)
def rwlock() -> None:
    made = core.RWLock("readers")
    assert made.acquire_read() and made.readers == 1 and repr(made)
    failing(made.acquire_write)
    made.release_read()
    assert made.acquire_write() and made.writing
    failing(made.acquire_read)
    made.release_write()
    failing(made.release_write)
    failing(core.RWLock, MARK)
    made._at_fork_reinit()
    assert made.read and made.write


@row("RWLockSide: acquire release locked _is_owned __enter__ __exit__")
def rwlock_side() -> None:
    for side in (core.RWLock().read, core.RWLock().write):
        with side:
            assert side._is_owned()
        assert side.acquire()
        side.locked()
        side.release()
        failing(side.release)


def queue_of(cls: Any) -> None:
    made = cls(2)
    made.put(1)
    made.put(2, timeout=1)
    failing(made.put, MARK, False)
    assert made.full() and made.qsize() == 2 and made.get() and made.get(timeout=1)
    failing(made.get, False)
    made.put_nowait(1)
    assert made.get_nowait() == 1 and made.empty()
    for _ in range(3):
        made.task_done()
    made.join()
    failing(made.task_done)
    made.shutdown(True)
    failing(made.put, MARK)
    assert cls[int] and sys.getsizeof(made)


@row(
    "Queue: __new__ __init__ __sizeof__ put get put_nowait get_nowait task_done join qsize empty full shutdown "
    "__class_getitem__"
)
def queue() -> None:
    queue_of(core.Queue)


@row("LifoQueue")
def lifo_queue() -> None:
    queue_of(core.LifoQueue)


@row("PriorityQueue")
def priority_queue() -> None:
    queue_of(core.PriorityQueue)
    made = core.PriorityQueue()
    made.put(MARK)
    failing(made.put, 1)


@row("Queue: mutex not_empty not_full all_tasks_done unfinished_tasks is_shutdown queue maxsize")
def queue_state() -> None:
    for cls in (core.Queue, core.LifoQueue, core.PriorityQueue):
        made = cls(3)
        made.put(MARK)
        with made.mutex:
            assert made.not_empty and made.not_full and made.all_tasks_done
        assert (made.unfinished_tasks, made.is_shutdown, made.maxsize, len(made.queue)) == (1, False, 3, 1)
        made.get()


class Store(core.Queue):  # type: ignore[misc]
    """Its own store, over the one of the base class."""

    def _init(self, maxsize: int) -> None:
        super()._init(maxsize)

    def _put(self, item: Any) -> None:
        super()._put(item)

    def _get(self) -> Any:
        return super()._get()

    def _qsize(self) -> int:
        return int(super()._qsize())


@row("Queue: _init _qsize _put _get")
def queue_store() -> None:
    made = Store()
    made.put(MARK)
    assert made.qsize() == 1 and made.get() is MARK


@row("SimpleQueue: __new__ __init__ __sizeof__ put put_nowait get get_nowait empty qsize __class_getitem__")
def simple_queue() -> None:
    made = core.SimpleQueue()
    made.put(MARK)
    made.put_nowait(MARK)
    made.put(made)  # a cycle
    assert made.qsize() == 3 and made.get() and made.get_nowait() and not made.empty()
    failing(core.SimpleQueue().get, True, 0)
    failing(made.get, MARK, MARK)
    assert core.SimpleQueue[int] and sys.getsizeof(made)


@row(
    "FutureBase: __new__ __init__ cancel cancelled running done set_running_or_notify_cancel _cancel_running"
)
@row(
    "FutureBase: result exception set_result set_exception add_done_callback _invoke_callbacks _begin _take_away"
)
@row("FutureBase: _condition _waiters _done_callbacks _state _result _exception")
@row("FutureBase: _engine _call _options _worker _ended _alarm _runs _number")
def future() -> None:
    logging.getLogger("concurrent.futures").disabled = True  # pytest keeps what is logged
    made = manyhands.futures.Future()
    made.add_done_callback(made.__repr__)  # raises, and is logged; a cycle
    made.add_done_callback(lambda _: MARK)
    failing(made.result, 0)
    assert made._begin(MARK) and not made._begin(MARK) and made._take_away() is MARK and made.running()
    with contextlib.suppress(manyhands.Cancelled):
        token = manyhands.CancelToken()
        token.cancel("now")
        made.exception(cancel=token)
    made._call = made._engine = made._options = made._ended = made._alarm = MARK
    made._engine = None
    made._runs = made._number = 3
    made.set_result(MARK)
    failing(made.set_result, 1)
    failing(made.set_exception, MARK)
    failing(made.set_running_or_notify_cancel)
    assert made.result() is MARK and made.exception() is None and made.done() and not made._cancel_running()
    made._invoke_callbacks()
    failed = manyhands.futures.Future()
    failed.set_exception(KeyError(MARK))
    failing(failed.result)
    gone = manyhands.futures.Future()
    assert gone.cancel() and gone.cancelled() and not gone.set_running_or_notify_cancel()
    failing(gone.exception)
    by_hand = core.FutureBase()
    by_hand._result, by_hand._exception = MARK, MARK
    by_hand._exception = None
    by_hand._state = "FINISHED"
    assert by_hand.result() is MARK
    by_hand._waiters, by_hand._done_callbacks, by_hand._condition = (
        [MARK],
        [],
        manyhands.threading.Condition(),
    )
    for name, wrong in (("_state", "so so"), ("_waiters", MARK), ("_done_callbacks", MARK)):
        failing(setattr, by_hand, name, wrong)
        failing(delattr, by_hand, name)


class Lined:
    """An engine's place in a TaskLine."""

    def __init__(self) -> None:
        self.line = core.TaskLine(self, {}, {}, 1)

    def refuse(self) -> None:
        raise RuntimeError(MARK)

    def grow(self) -> None:
        """None."""

    def wait_gate(self) -> None:
        self.line.held = False

    def help(self, _: object, __: bool) -> None:
        """None."""


@row("TaskLine: __new__ submit put serve help qsize empty free_workers closed held")
@row("TaskWorker: abandoned tasks wait_ns work_ns")
def task_line() -> None:
    engine, worker = Lined(), core.TaskWorker()
    line = engine.line
    line.held = True
    done = [line.submit(int, (x,), {}) for x in ("7", MARK)]
    line.submit(int, (MARK,), {}).cancel()
    helped = line.submit(dict, (), {"a": MARK})
    line.help(worker, helped)
    line.put(None)
    with core.shield():
        assert line.serve(worker, None) == 1 and line.serve(worker, None, idle=0.0) == 2
        line.submit(int, ("7",), {})
        worker.tasks = 0
        assert line.serve(worker, lambda fn, args, kwargs: MARK, tasks=1) == 0
    assert done[0].result() == 7 and helped.result() == {"a": MARK} and done[1].exception() and line.empty()
    worker.tasks, worker.abandoned = 0, False
    assert worker.wait_ns >= 0 and worker.work_ns >= 0 and not line.qsize() and not line.free_workers()
    line.closed = True
    failing(line.submit, int, (), {})
    failing(line.submit, int, MARK, {})
    failing(line.serve, MARK, None)
    failing(line.serve, worker, None, MARK)
    failing(line.help, worker, MARK)
    failing(core.TaskLine, MARK, MARK, MARK, 1)


@row("Submitter: submit _line")
def submitter() -> None:
    executor, worker = core.Submitter(), core.TaskWorker()
    failing(executor.submit, int, "7")
    line = executor._line = Lined().line
    executor._line = line
    done = [executor.submit(int, "7"), executor.submit(dict, [("b", MARK)], a=MARK)]
    line.put(None)
    with core.shield():
        assert line.serve(worker, None) == 1
    assert done[0].result() == 7 and done[1].result() == {"a": MARK, "b": MARK}
    failing(executor.submit)
    failing(setattr, executor, "_line", MARK)
    failing(delattr, executor, "_line")


@row("Started: __new__ control")
@row("Control: __new__ adopt disown join pause resume terminate state cpu_time terminating")
def control() -> None:
    """The thread's own part is in the life of a thread; a control that no thread has adopted refuses some."""
    made = core.Started().control
    for name in ("pause", "resume", "terminate"):
        failing(getattr(made, name), *([0] if name == "pause" else []))
    for name in ("state", "cpu_time", "terminating"):
        with contextlib.suppress(Exception):
            getattr(made, name)
    thread = manyhands.threading.Thread(target=manyhands.checkpoint)
    thread.start()
    with contextlib.suppress(RuntimeError):
        thread.pause(0)
        thread.resume()
        thread.terminate()
    thread.join()


@row("CancelToken: __new__ __repr__ cancel cancelled raise_if_cancelled wait reason")
def cancel_token() -> None:
    made = core.CancelToken()
    assert not made.wait(0) and not made.cancelled() and made.reason is None and repr(made)
    made.raise_if_cancelled()
    failing(made.cancel, MARK)
    made.cancel("why" * 100)
    assert made.wait() and made.cancelled() and made.reason and repr(made)
    failing(made.raise_if_cancelled)
    for call in (core.Event().wait, core.Semaphore(0).acquire, core.Queue().get, core.SimpleQueue().get):
        with contextlib.suppress(manyhands.Cancelled):
            call(cancel=made)
    with contextlib.suppress(TypeError):
        core.Event().wait(cancel=MARK)


@row("Sampler: __new__ start stop read")
def sampler() -> None:
    made = core.Sampler(0.0005)
    assert made.read() == []
    made.start()
    while not made.read():
        pass
    made.stop()
    assert made.read()
    failing(made.start)
    failing(core.Sampler, MARK)


@row("signals_put_off")
@row("_signals_come")
@row("SignalsPutOff: __enter__ __exit__")
@row("Shield: __enter__ __exit__")
def shield() -> None:
    with core.shield(), core.signals_put_off():
        manyhands.checkpoint()


@row("block")
@row("_block_from")
@row("is_shared")
@row("Block: __len__ __getitem__ __setitem__ __delitem__ __reduce_ex__ __repr__ shape format nbytes")
@row("Block.__buffer__")
def block() -> None:
    made = core.block(4096, True, "d", (2, 256))
    made[1, 5] = 2.5
    assert len(made) == 2 and made[1, 5] == 2.5 and repr(made) and made.nbytes == 4096 and made.format == "d"
    again = core._block_from(made, made.format, made.shape)
    assert core.is_shared(again) and again[1, 5] == 2.5
    for protocol in (4, 5):
        function, arguments = made.__reduce_ex__(protocol)
        assert function(*arguments)[1, 5] == 2.5
    with memoryview(core.block(64)) as view:
        assert len(view) == 64
    for wrong in ((-1,), (8, False, "?!"), (8, False, "d", (3,)), (8, False, "d", (MARK,)), (4, False, "d")):
        failing(core.block, *wrong)
    failing(core._block_from, MARK, None, None)
    failing(core._block_from, again, "d", (7,))
    failing(core.is_shared, MARK)
    failing(made.__getitem__, MARK)
    failing(made.__delitem__, 0)


@row("_blocks_give")
@row("_blocks_take")
def handed() -> None:
    buffers = [pickle.PickleBuffer(core.block(5000)), pickle.PickleBuffer(bytearray(5000))]
    records = core._blocks_give(PLACE[0], buffers)
    assert [len(block) for block in core._blocks_take(records)] == [5000, 5000]
    failing(core._blocks_give, PLACE[0], [MARK])
    failing(core._blocks_take, [(1, 2, 3, 4), MARK])
    failing(core._blocks_take, [(records[0][0], 0, 1 << 40, 0)])


@row("SharedBuffer: __new__ place _rebuild")
@row("SharedBuffer.__buffer__")
@row("SyncedBase: _bind")
@row("SyncedValue: value")
@row("SyncedArray: __getitem__ __setitem__ __delitem__ __len__")
def synced() -> None:
    memory, large, lock = core.SharedBuffer(64), core.SharedBuffer(1 << 20), core.SharedRLock()
    again = core.SharedBuffer._rebuild(*memory.place, 64)
    value, array = core.SyncedValue(), core.SyncedArray()
    one, many = ctypes.c_int.from_buffer(again), (ctypes.c_double * 4).from_buffer(large)
    failing(lambda: value.value)
    value._bind(one, lock, lock, True), array._bind(many, lock, lock, True)
    value._bind(one, lock, lock, True)
    value.value, array[1] = 5, 2.5
    assert value.value == 5 and array[-3] == 2.5 and array[0:2] == [0, 2.5] and len(array) == 4
    failing(setattr, value, "value", MARK)
    failing(array.__getitem__, 9)
    failing(array.__setitem__, 1, MARK)
    failing(array.__delitem__, 1)
    failing(core.SharedBuffer, -1)
    failing(core.SharedBuffer._rebuild, *memory.place, 1 << 40)
    failing(value._bind, one)


def share_and_fail(thing: Any) -> None:
    raise ValueError(thing)


@row("AtomicInt: __new__ value add exchange compare_exchange wait __reduce_ex__ __repr__")
@row("AtomicInt: __int__ __index__ __bool__ __iadd__ __isub__")
@row("AtomicFlag: __new__ set clear is_set wait __reduce_ex__ __repr__ __bool__")
@row("_atomic_from")
@row("_share")
def atomics() -> None:
    number, flag = core.AtomicInt(2**40), core.AtomicFlag(True)
    number.value = 2**41
    number += 5
    number -= 5
    assert number.add(1) == number.value == int(number) == operator.index(number) and number
    assert (
        number.exchange(3) and number.compare_exchange(3, 2**50) and number.wait(0) == 2**50 and repr(number)
    )
    assert not number.wait(2**50, 0) and flag and repr(flag)
    assert flag.is_set() and flag.wait() and flag.clear() and not flag.wait(0) and flag.set()
    for thing in (number, flag):
        function, arguments = core._share(thing.__reduce_ex__, 5)
        stretch = core._block_from(arguments[1].raw(), None, None)
        failing(function, arguments[0], stretch)
        failing(function, arguments[0], MARK)
        failing(function, MARK, MARK)
        failing(thing.__reduce_ex__, 5)
    failing(core._share, share_and_fail, MARK)
    failing(core.AtomicInt, MARK)
    failing(number.exchange, 2**64)
    failing(number.add, 2**63 - 1)


@row("shield")
@row("checkpoint")
@row("allocate_lock")
@row("_waits")
@row("_held")
@row("_current_frames")
@row("_raise_in")
@row("arena_usage")
@row("arena_sweep")
@row("arena_fd")
def functions() -> None:
    core.shield(), core.checkpoint(), core.allocate_lock(), core._waits(), core._held(), core._signals_come()
    assert core._current_frames() and not core._raise_in(0, ValueError)
    assert core.arena_usage() and core.arena_sweep() == 0 and core.arena_fd() >= 0


@row("arena_reserve")
@row("arena_unreserve")
def places() -> None:
    core.arena_unreserve(core.arena_reserve())


@row("_bind")
def bind() -> None:
    failing(core._bind, "no such name", MARK)


def shared_lock_of(cls: Any) -> None:
    made = cls()
    with made:
        assert (
            made._is_mine()
            and made._count() == 1
            and made.owner
            and not made._get_value()
            and made._is_zero()
        )
    assert made.acquire(timeout=1)
    made.release()
    failing(made.release)
    failing(made.recover, 0)
    fd, slab, offset = made.place
    assert cls._rebuild(fd, slab, offset)
    failing(cls._rebuild, -1, 0, 1)


LOCK = ": __new__ acquire release recover __enter__ __exit__ _is_mine _count _get_value _is_zero _rebuild place owner"


@row("SharedLock" + LOCK)
def shared_lock() -> None:
    shared_lock_of(core.SharedLock)


@row("SharedRLock" + LOCK)
def shared_rlock() -> None:
    shared_lock_of(core.SharedRLock)


@row(
    "SharedSemaphore: __new__ acquire release __enter__ __exit__ _get_value _is_zero _rebuild place maxvalue"
)
def shared_semaphore() -> None:
    made = core.SharedSemaphore(1, 1)
    with made:
        assert made._is_zero() and made._get_value() == 0 and made.maxvalue == 1
    assert made.acquire()
    made.release()
    failing(made.release)
    assert core.SharedSemaphore._rebuild(*made.place)


@row(
    "SharedRobustSemaphore: __new__ acquire release __enter__ __exit__ _get_value _is_zero _rebuild place maxvalue died"
)
def shared_robust_semaphore() -> None:
    made = core.SharedRobustSemaphore(1)
    with made:
        assert made._is_zero() and made._get_value() == 0 and made.maxvalue == 1 and made.died == 0
        assert not made.acquire(timeout=0)
    assert made.acquire()
    made.release()
    failing(made.release)
    failing(made.acquire, MARK)
    assert core.SharedRobustSemaphore._rebuild(*made.place)


@row(
    "SharedRWLock: __new__ acquire_read acquire_write release_read release_write recover readers writing "
    "_rebuild place"
)
def shared_rwlock() -> None:
    made = core.SharedRWLock(None)
    assert made.acquire_read() and made.readers == 1
    made.release_read()
    assert made.acquire_write() and made.writing
    made.release_write()
    assert made.recover(1)
    made.release_write()
    failing(made.release_read)
    failing(made.acquire_read, MARK)
    assert core.SharedRWLock._rebuild(*made.place)


@row("SharedCondition: __new__ _over wait notify notify_all waiting _rebuild place")
def shared_condition() -> None:
    made, guard = core.SharedCondition(), core.SharedLock()
    failing(made.wait, 0)
    made._over(guard)
    failing(made._over, MARK)
    with guard:
        assert not made.wait(0)
        made.notify(1)
        made.notify_all()
    assert made.waiting() == 0
    failing(made.wait, 0)
    failing(made.notify, 1)
    failing(made.notify, MARK)
    assert core.SharedCondition._rebuild(*made.place)


class Thing(core.Entered):  # type: ignore[misc]
    """What the facades make of Entered."""


@row("Entered: _enters __enter__ __exit__")
def entered() -> None:
    made = Thing()
    failing(made.__enter__)
    failing(made.__exit__)
    failing(made._enters, MARK)
    told: list[Any] = []
    made._enters(lambda: made, lambda *args: told.append(args), True)
    with made as got:
        assert got is made
    made._enters(lambda: 1, lambda: told.append(0), False)
    with made:
        pass
    made.__exit__(MARK)
    assert told == [(None, None, None), 0, 0]
    made._enters(failing, failing, False)
    failing(made.__enter__)
    failing(made.__exit__)


@row("SharedEvent: __new__ is_set set clear wait _rebuild place")
def shared_event() -> None:
    made = core.SharedEvent()
    made.set()
    assert made.is_set() and made.wait()
    made.clear()
    assert not made.wait(0) and core.SharedEvent._rebuild(*made.place)


@row("SharedBarrier: __new__ wait _defaults reset abort _rebuild place parties n_waiting broken")
def shared_barrier() -> None:
    made = core.SharedBarrier(1)
    made._defaults(lambda: MARK, 5)
    assert made.wait() == 0 and made.parties == 1 and made.n_waiting == 0
    made.abort()
    assert made.broken
    failing(made.wait)
    made.reset()
    assert core.SharedBarrier._rebuild(*made.place)


@row(
    "MessageQueue: __init__ put put_many get get_many qsize empty full close fileno "
    "_handle _attach _taken _closed _maxsize _end _share_outside shutdown is_shutdown "
    "_task_done _join _unfinished"
)
def message_queue() -> None:
    made = manyhands.multiprocessing.Queue(5)
    made.put({"a": [1, b"x" * 100]})
    made.put_many([1, "two", None])
    assert made.get() and made.get_many(2) and made.qsize() == 1 and not made.empty() and not made.full()
    failing(made.put, lambda: MARK)
    failing(made.get_many, MARK)
    fd, bell, name, maxsize = made._handle()
    other = core.MessageQueue.__new__(core.MessageQueue)
    other._attach(fd, bell, name, maxsize)
    assert made.fileno() >= 0 and made._taken() is not None and made._maxsize == 5
    made.get()
    failing(made.get, False)
    assert made._unfinished() and not made._join(0)
    while made._unfinished():
        made._task_done()
    assert made._join()
    failing(made._task_done)
    made._end().close()
    made._share_outside()
    made.shutdown(immediate=True)
    assert made.is_shutdown
    failing(made.put, 1)
    made.close()
    assert made._closed
    other.close()


@row("MessageQueue: _load")
def message_load() -> None:
    failing(core.MessageQueue._load, b"", 0)
    failing(core.MessageQueue._load, MARK, 0)


@row("_unlink")
@row("MessageQueue: _create_named _open_named")
@row("NamedSegment: __new__ make publish find")
def named_segment() -> None:
    name = f"manyhands-leaks-{os.getpid()}"
    made = core.NamedSegment(name, 5, 70_000)
    lock, condition = made.make(core.SharedRLock), made.make(core.SharedCondition)
    failing(made.make, core.SharedSemaphore, 5, 2)
    failing(made.make, int)
    failing(lambda: lock.place)
    made.publish()
    found = core.NamedSegment(name, 5)
    with lock:
        assert found.find(core.SharedRLock).owner is not None
    failing(found.find, core.SharedSemaphore)
    failing(core.NamedSegment, name, 6)
    failing(core.NamedSegment, name, 5, 100)
    core._unlink(name)
    failing(core._unlink, name)
    failing(core._unlink, MARK)
    del condition
    queue, other = (core.MessageQueue.__new__(core.MessageQueue) for _ in range(2))
    failing(other._open_named, name)
    queue._create_named(name, 0, 4096)
    other._open_named(name)
    queue.put(MARK is None)
    assert other.get() is False
    core._unlink(name)


@row(
    "QueueEnd: send send_bytes recv recv_bytes poll close handle select_fd share_outside _attach _pair socket_fd "
    "set_writers writers_fd ring"
)
def queue_end() -> None:
    reader, writer = core.QueueEnd._pair()
    writer.share_outside()
    writer.send([1, 2])
    writer.send_bytes(b"bytes")
    assert reader.poll(1) and reader.recv() == [1, 2] and reader.recv_bytes() == b"bytes"
    failing(writer.send, lambda: MARK)
    assert reader.select_fd() >= 0 and reader.socket_fd >= 0
    again = core.QueueEnd._attach(*reader.handle())
    there, here = os.pipe()
    reader.set_writers(there)
    assert reader.writers_fd == there
    failing(reader.set_writers, there)
    failing(reader.set_writers, MARK)
    os.close(here)
    reader.ring()
    failing(reader.recv)
    for end in (reader, writer, *again):
        end.close()
    failing(reader.recv)


@row(
    "PipeEnd: send send_bytes recv recv_bytes poll close handle select_fd send_fd recv_fd share_outside "
    "_attach _pair socket_fd"
)
def pipe_end() -> None:
    here, there = core.PipeEnd._pair(True)
    here.share_outside()
    here.send_fd(0)
    os.close(there.recv_fd())
    failing(here.send_fd, -1)
    here.send([1, 2])
    here.send_bytes(b"bytes")
    assert there.poll(1) and there.recv() == [1, 2] and there.recv_bytes() == b"bytes"
    failing(here.send, lambda: MARK)
    assert there.select_fd() >= 0 and here.socket_fd >= 0
    again = core.PipeEnd._attach(*here.handle())
    for end in (here, there, again):
        end.close()
    failing(there.recv)


@row("ProcessControl: __new__ join pause resume state cpu_time memory fileno")
def process_control() -> None:
    made = core.ProcessControl(CHILD[0].pid, core.arena_reserve() if not PLACE else PLACE[0])
    assert made.state() and made.memory() > 0 and made.cpu_time() >= 0
    failing(made.pause, MARK)
    assert made.pause(5) and not made.join(0) and made.fileno() >= 0
    made.resume()
    failing(core.ProcessControl, -1, 0)


@row("adopt_orphans")
def adopt_orphans() -> None:
    assert core.adopt_orphans(True) is False and core.adopt_orphans(False) is True


@row("lifeline")
def lifeline() -> None:
    os.close(core.lifeline())


CHILD: list[Any] = []  # a process to be looked at
PLACE: list[Any] = []

# What is called once in the life of a process, and cannot be undone.
NEWER = {"Lock.__new__", "Block.__buffer__", "SharedBuffer.__buffer__"}  # seen from Python 3.13 and 3.12 on
ONCE = {
    "ProcessControl.kill": "ends the process",
    "ProcessControl.terminate": "ends the process",
    "die_with": "binds this process's life to a descriptor",
    "arena_join": "binds this process to an arena",
    "arena_settle": "gives a place to a living process",
    "MessageQueue._claim": "binds this process to a word of a pool's table",
}


@pytest.fixture
def child() -> Iterator[None]:
    CHILD.append(subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE))
    PLACE.append(core.arena_reserve())
    yield
    core.arena_unreserve(PLACE.pop())
    CHILD.pop().communicate(b"\n")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("function", dict.fromkeys(ROWS.values()), ids=lambda function: function.__name__)
def test_nothing_is_kept(function: Callable[[], Any], child: None) -> None:
    assert not leaks(function), growth(function)


def test_every_entry_is_in_the_table() -> None:
    there = set()
    for name, value in vars(core).items():
        if isinstance(value, type):
            ignored = (
                "__doc__",
                "__module__",
                "__dict__",
                "__weakref__",
                "__weaklistoffset__",
                "__reduce__",
                "__slotnames__",
            )
            names = {f"{name}.{each}" for each in vars(value) if each not in ignored}
            there |= names or {name}
        elif callable(value):
            there.add(name)
    assert there - set(ROWS) - set(ONCE) == set(), "no leak loop calls these"
    assert (set(ROWS) | set(ONCE)) - there <= NEWER, "these are gone"


KEPT: list[Any] = []


LEAKS: dict[str, Callable[[], Any]] = {
    "memory": lambda: KEPT.append([]),
    "reference": lambda: ctypes.pythonapi.Py_IncRef(ctypes.py_object(MARK)),
    "descriptor": lambda: KEPT.append(os.dup(0)),
}


@pytest.mark.parametrize("leak", LEAKS.values(), ids=LEAKS)
def test_a_leak_is_seen(leak: Callable[[], Any]) -> None:
    try:
        assert leaks(leak)
    finally:
        for thing in KEPT:
            if isinstance(thing, int):
                os.close(thing)
        KEPT.clear()
