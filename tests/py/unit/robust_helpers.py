"""What other processes do in test_mp_robust.py: under spawn and forkserver they are imported by name."""

import os
import signal
import time

from manyhands import OwnerDiedError


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def hold_and_die(lock):
    lock.acquire()
    die()


def recover_and_die(lock):
    assert lock.recover(30)
    die()


def recover_in_vain(lock):
    assert lock.recover(0.1) is False


def race(lock, gate, repaired, told, inside):
    gate.wait(60)
    try:
        lock.acquire(timeout=30)
    except OwnerDiedError:
        told.release()
    gate.wait(60)  # nobody recovers before all were told
    assert lock.recover(30)
    assert inside.acquire(False), "two have recovered the same lock at once"
    if repaired.value == 0:
        time.sleep(0.001)
        repaired.value += 1
    inside.release()
    lock.release()


def release_others(lock, rlock):
    lock.release()
    try:
        rlock.release()
    except AssertionError:
        return
    raise SystemExit("released an RLock of another process")


def release_is_refused(seats):
    try:
        seats.release()
    except ValueError:
        return
    raise SystemExit("released a permit of another process")


def hold_until_killed(lock, started):
    lock.acquire()
    started.set()
    signal.pause()


def acquire_and_say(seats, got):
    assert seats.acquire(timeout=30)
    got.set()
    seats.release()


def read_together(lock, meet):
    with lock.read:
        meet.wait(60)
        meet.wait(60)


def cannot_read(lock):
    assert lock.acquire_read(False) is False
    assert lock.acquire_read(timeout=0.01) is False


def read_and_die(lock):
    lock.acquire_read()
    die()


def write_and_die(lock):
    lock.acquire_write()
    die()


def wait_is_told(condition, waiting, told):
    try:
        with condition:
            waiting.set()
            condition.wait(60)
    except OwnerDiedError:
        told.set()


def notify_and_die(condition):
    condition.acquire()
    condition.notify()
    die()


def wait_once(condition, waiting, woken):
    with condition:
        waiting.release()
        assert condition.wait(60)
    woken.release()


def wait_at(barrier, waiting):
    waiting.set()
    barrier.wait(60)


def wait_for_ever(thing, what, ready):
    ready.set()
    if what in ("Lock", "Semaphore"):
        thing.acquire()
    elif what == "Condition":
        with thing:
            thing.wait()
    elif what == "Event":
        thing.wait()
    elif what == "RWLock":
        thing.acquire_read()
    else:
        thing.get()


def put_under_lock(lock, queue, things):
    with lock:
        queue.put(len(things))
