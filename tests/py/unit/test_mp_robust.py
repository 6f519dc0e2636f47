"""Robust primitives between processes: who owns what, and what each death means to the others."""

import errno
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import manyhands
import pytest
import robust_helpers as helpers

if not manyhands.compiled():
    pytest.skip("needs the compiled core", allow_module_level=True)

from manyhands import OwnerDiedError
from manyhands import multiprocessing as mp

METHODS = ("fork", "spawn", "forkserver")
RACERS = 24


@pytest.fixture(params=METHODS)
def context(request):
    return mp.get_context(request.param)


@pytest.fixture
def fork():
    return mp.get_context("fork")


def start(context, target, *args):
    process = context.Process(target=target, args=args)
    process.start()
    return process


def run(context, target, *args):
    process = start(context, target, *args)
    process.join(30)
    assert not process.is_alive()
    return process.exitcode


def kill(process):
    process.kill()
    process.join(30)


# ---- locks


@pytest.mark.parametrize("kind", ["Lock", "RLock"])
def test_each_acquirer_is_told_until_one_recovers(context, kind):
    lock = getattr(context, kind)()
    assert run(context, helpers.hold_and_die, lock) == -signal.SIGKILL
    for _ in range(3):
        with pytest.raises(OwnerDiedError) as raised:
            lock.acquire(timeout=10)
        assert raised.value.errno == errno.EOWNERDEAD and isinstance(raised.value, OSError)
    with pytest.raises(OwnerDiedError):
        lock.__enter__()
    with pytest.raises(OwnerDiedError):
        lock.acquire(False)
    assert lock.recover(10)
    lock.release()
    assert lock.acquire(timeout=10)
    lock.release()


def test_one_of_many_racers_is_in_at_a_time(fork):
    """All are told; all recover; the first repairs, and each of the others finds it repaired."""
    lock, repaired, told, inside = fork.Lock(), fork.Value("i", 0, lock=False), fork.Semaphore(0), fork.Lock()
    gate = fork.Barrier(RACERS)
    assert run(fork, helpers.hold_and_die, lock) == -signal.SIGKILL
    racers = [start(fork, helpers.race, lock, gate, repaired, told, inside) for _ in range(RACERS)]
    for racer in racers:
        racer.join(60)
    assert [racer.exitcode for racer in racers] == [0] * RACERS
    assert repaired.value == 1
    assert told.get_value() == RACERS


def test_the_one_that_recovers_and_dies_is_a_dead_owner_again(fork):
    lock = fork.Lock()
    assert run(fork, helpers.hold_and_die, lock) == -signal.SIGKILL
    assert run(fork, helpers.recover_and_die, lock) == -signal.SIGKILL
    with pytest.raises(OwnerDiedError):
        lock.acquire(timeout=10)
    assert lock.recover(10)
    lock.release()


def test_recover_waits_for_a_living_owner_and_its_time_limit_holds(fork):
    lock = fork.Lock()
    lock.acquire()
    assert run(fork, helpers.recover_in_vain, lock) == 0
    lock.release()


def test_any_process_may_release_a_lock_but_not_an_rlock(context):
    lock, rlock = context.Lock(), context.RLock()
    lock.acquire()
    rlock.acquire()
    assert run(context, helpers.release_others, lock, rlock) == 0
    assert lock.acquire(False)


# ---- semaphores


def test_permits_of_the_dead_come_back(context):
    seats = context.Semaphore(2, robust=True)
    assert seats.robust and seats.get_value() == 2
    assert seats.acquire()
    assert run(context, helpers.hold_and_die, seats) == -signal.SIGKILL
    assert seats.get_value() == 0 and seats.died == 0
    assert seats.acquire(timeout=10)
    assert seats.died == 1
    assert not seats.acquire(False)
    seats.release()
    seats.release()
    assert seats.get_value() == 2


def test_a_waiter_gets_the_permit_of_one_that_dies_while_it_waits(fork):
    seats, started, got = fork.Semaphore(1, robust=True), fork.Event(), fork.Event()
    holder = start(fork, helpers.hold_until_killed, seats, started)
    assert started.wait(30)
    waiter = start(fork, helpers.acquire_and_say, seats, got)
    assert not got.wait(0.05)
    kill(holder)
    assert got.wait(30)
    waiter.join(30)
    assert waiter.exitcode == 0 and seats.get_value() == 1


def test_only_the_acquirer_may_release(fork):
    seats = fork.Semaphore(2, robust=True)
    with pytest.raises(ValueError, match="only who acquired"):
        seats.release()
    seats.acquire()
    assert run(fork, helpers.release_is_refused, seats) == 0
    seats.release()
    assert seats.get_value() == 2


@pytest.mark.parametrize("value", [0, -1, 5000])
def test_a_robust_semaphore_says_what_values_it_takes(fork, value):
    with pytest.raises(ValueError, match=f"1 to 4096 permits, not {value}"):
        fork.Semaphore(value, robust=True)


def test_a_plain_semaphore_loses_what_the_dead_had(fork):
    seats = fork.Semaphore(1)
    assert run(fork, helpers.hold_and_die, seats) == -signal.SIGKILL
    assert not seats.acquire(timeout=0.1) and not seats.robust and seats.died == 0
    seats.release()


# ---- reader-writer lock


def test_readers_are_together_and_writers_alone(context):
    lock, meet = context.RWLock(), context.Barrier(3)
    readers = [start(context, helpers.read_together, lock, meet) for _ in range(2)]
    with lock.read:
        meet.wait(60)  # all three read now
        assert lock.readers == 3
        meet.wait(60)
    for reader in readers:
        reader.join(30)
        assert reader.exitcode == 0
    with lock.write:
        assert lock.writing
        assert run(context, helpers.cannot_read, lock) == 0
    assert not lock.writing and lock.readers == 0


def test_the_share_of_a_dead_reader_comes_back(context):
    lock = context.RWLock()
    assert run(context, helpers.read_and_die, lock) == -signal.SIGKILL
    assert lock.acquire_write(timeout=30)
    lock.release_write()


def test_a_dead_writer_is_reported_to_all_until_one_recovers(context):
    lock = context.RWLock("writers")
    assert run(context, helpers.write_and_die, lock) == -signal.SIGKILL
    for take in (lock.acquire_read, lock.acquire_write, lock.acquire_read, lock.read.__enter__):
        with pytest.raises(OwnerDiedError):
            take()
    assert lock.readers == 0 and not lock.writing
    assert lock.recover(30)
    lock.release_write()
    with lock.read, pytest.raises(RuntimeError, match="cannot upgrade"):
        lock.acquire_write()
    with pytest.raises(RuntimeError, match="not held for reading"):
        lock.release_read()
    with pytest.raises(ValueError, match="'readers' or 'writers', not 'both'"):
        context.RWLock("both")


# ---- condition, barrier


def test_a_condition_reports_the_death_of_its_locks_owner(fork):
    condition, waiting, told = fork.Condition(), fork.Event(), fork.Event()
    waiter = start(fork, helpers.wait_is_told, condition, waiting, told)
    assert waiting.wait(30)
    assert run(fork, helpers.notify_and_die, condition) == -signal.SIGKILL
    assert told.wait(30)
    waiter.join(30)
    assert waiter.exitcode == 0


def test_the_wake_of_a_notified_waiter_that_dies_goes_to_the_next(fork):
    condition, waiting, woken = fork.Condition(fork.Lock()), fork.Semaphore(0), fork.Semaphore(0)
    waiters = []
    for _ in range(2):  # one after the other: the order in the line
        waiters.append(start(fork, helpers.wait_once, condition, waiting, woken))
        assert waiting.acquire(timeout=30)
        with condition:
            pass
    os.kill(waiters[0].pid, signal.SIGSTOP)
    with condition:
        condition.notify()  # the wake of the first, who cannot take it
    kill(waiters[0])
    assert woken.acquire(timeout=30)
    waiters[1].join(30)
    assert waiters[1].exitcode == 0


def test_a_barrier_breaks_when_a_waiting_party_dies(context):
    barrier, waiting = context.Barrier(3), context.Event()
    victim = start(context, helpers.wait_at, barrier, waiting)
    assert waiting.wait(30)
    while barrier.n_waiting < 1:
        time.sleep(0.001)
    kill(victim)
    with pytest.raises(threading.BrokenBarrierError):
        barrier.wait(30)
    assert barrier.broken


# ---- hard conditions


def cpu_of(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize("what", ["Lock", "Semaphore", "Condition", "Event", "RWLock", "Queue"])
def test_who_waits_uses_next_to_no_processor_time(fork, what):
    thing, ready = getattr(fork, what)(), fork.Event()
    if what in ("Lock", "Semaphore"):
        thing.acquire()
    if what == "RWLock":
        thing.acquire_write()
    waiter = start(fork, helpers.wait_for_ever, thing, what, ready)
    assert ready.wait(30)
    time.sleep(0.2)
    before = cpu_of(waiter.pid)
    time.sleep(2)
    used = cpu_of(waiter.pid) - before
    kill(waiter)
    if what == "RWLock":
        thing.release_write()
    assert used <= 0.04  # of two seconds; the clock ticks every 0.01


def test_a_stopped_owner_lives(fork):
    lock, started = fork.Lock(), fork.Event()
    holder = start(fork, helpers.hold_until_killed, lock, started)
    assert started.wait(30)
    os.kill(holder.pid, signal.SIGSTOP)
    assert not lock.acquire(timeout=0.3)  # no OwnerDiedError: it is only slow
    os.kill(holder.pid, signal.SIGCONT)
    kill(holder)
    with pytest.raises(OwnerDiedError):
        lock.acquire(timeout=30)
    assert lock.recover(30)
    lock.release()


SCRIPT = """
import sys
from manyhands import multiprocessing as mp
context = mp.get_context("fork")
"""


def script(text, *arguments, limit=60, before=None):
    return subprocess.run(
        [sys.executable, "-c", SCRIPT + textwrap.dedent(text), *arguments],
        capture_output=True,
        text=True,
        timeout=limit,
        preexec_fn=before,
    )


def test_without_descriptors_there_is_a_clear_error_and_what_exists_works_on():
    done = script("""
        import resource, os
        lock = context.Lock()
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
        kept = []
        try:
            while True:
                kept.append(os.open("/dev/null", os.O_RDONLY))
        except OSError:
            pass
        more = [context.Lock() for _ in range(1000)]  # in the slab that is there
        try:
            context.Queue()
        except OSError as error:
            print(type(error).__name__, error.errno)
        with lock, more[999]:
            print("works")
    """)
    assert done.stdout == f"OSError {errno.EMFILE}\nworks\n", done.stderr


def test_without_memory_there_is_a_clear_error_and_what_exists_works_on():
    done = script("""
        import resource
        lock = context.Lock()
        used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 20), used + (1 << 20)))
        kept = []
        try:
            while True:
                kept.append(context.Condition(lock))
        except MemoryError as error:
            print("MemoryError")
        except OSError as error:
            print("OSError", error)
        with lock:
            print("works")
    """)
    assert done.stdout == "MemoryError\nworks\n", done.stderr


def test_nothing_of_ours_needs_dev_shm():
    """In a mount namespace of its own, with /dev/shm a file system without any room; as a container has it at worst."""
    code = SCRIPT + textwrap.dedent("""
        import os
        assert os.listdir("/dev/shm") == [] and os.statvfs("/dev/shm").f_files == 1, "not the hidden one"
        import robust_helpers as helpers
        for method in ("fork", "spawn", "forkserver"):
            context = mp.get_context(method)
            lock, queue = context.Lock(), context.Queue()
            things = [context.RLock(), context.Semaphore(2), context.Semaphore(2, robust=True), context.Event(),
                      context.Condition(), context.Barrier(2), context.RWLock(), context.JoinableQueue()]
            process = context.Process(target=helpers.put_under_lock, args=(lock, queue, things))
            process.start()
            assert queue.get(timeout=60) == len(things)
            process.join()
        assert os.listdir("/dev/shm") == []
        print("works")
    """)
    where = 'mount -t tmpfs -o nr_inodes=1,size=4k none /dev/shm && exec "$@"'
    environment = dict(os.environ)
    here = os.path.dirname(os.path.abspath(__file__))
    environment["PYTHONPATH"] = os.pathsep.join([here, environment.get("PYTHONPATH", "")])
    command = [
        "unshare",
        "--user",
        "--map-root-user",
        "--mount",
        "sh",
        "-c",
        where,
        "sh",
        sys.executable,
        "-c",
        code,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
    if "unshare" in done.stderr or "mount:" in done.stderr:
        pytest.skip(f"no mount namespaces here: {done.stderr.strip()}")
    assert done.stdout == "works\n", done.stderr


def test_a_recycled_process_id_is_not_taken_for_the_owner(fork):
    """In a PID namespace of its own, where the next id can be chosen."""
    code = SCRIPT + textwrap.dedent("""
        import os, signal, time
        from manyhands import OwnerDiedError
        lock = context.Lock()
        def child(body):
            pid = os.fork()
            if pid == 0:
                body()
                os._exit(0)
            return pid
        def hold():
            lock.acquire()
            os.kill(os.getpid(), 9)
        first = child(hold)
        os.waitpid(first, 0)
        time.sleep(0.05)  # another tick of the clock that start times are told in
        open("/proc/sys/kernel/ns_last_pid", "w").write(str(first - 1))
        second = child(signal.pause)
        assert first == second, (first, second)
        try:
            lock.acquire(timeout=10)
            print("taken for the owner, or not held at all")
        except OwnerDiedError:
            print("told")
        os.kill(second, 9)
        os.waitpid(second, 0)
    """)
    command = [
        "unshare",
        "--user",
        "--map-root-user",
        "--pid",
        "--fork",
        "--mount-proc",
        sys.executable,
        "-c",
        code,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    if "unshare" in done.stderr or "ns_last_pid" in done.stderr:
        pytest.skip(f"no PID namespace, or ids cannot be chosen: {done.stderr.strip()[-200:]}")
    assert done.stdout == "told\n", done.stderr
