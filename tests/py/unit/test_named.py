"""Locks, queues and memory by name, between programs that are no relatives: they share, they die, they are refused."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import pickle
import random
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import manyhands
import pytest

if not manyhands.compiled():
    pytest.skip("needs the compiled core", allow_module_level=True)

from manyhands import OwnerDiedError, named
from manyhands._impl import core

HEADER = "<QIIIIQQQ16s"  # magic, order, layout, pointer size, kind, total, user, id, library


@pytest.fixture
def name() -> Iterator[str]:
    made = f"manyhands-test-{os.getpid()}-{random.getrandbits(48):x}"
    yield made
    for path in Path("/dev/shm").glob(f"{made}*"):
        path.unlink()


def program(source: str, *args: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [
            sys.executable,
            "-c",
            f"import os, sys, time\nfrom manyhands import named\nname = sys.argv[1]\n{source}",
            *args,
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def said(process: subprocess.Popen[str], status: int = 0) -> list[str]:
    out, err = process.communicate(timeout=60)
    assert process.returncode == status, err
    return out.splitlines()


# ---- two programs


def test_two_programs_share_a_queue(name: str) -> None:
    makes = program(
        "queue = named.Queue.create(name, maxsize=3, max_bytes=4096)\n"
        "for i in range(100): queue.put({'number': i})\n"
        "queue.shutdown()",
        name,
    )
    takes = program(
        "import queue as q\n"
        "while not os.path.exists('/dev/shm/' + name): time.sleep(0.001)\n"
        "queue = named.Queue.open(name)\n"
        "try:\n"
        "    while True: print(queue.get()['number'])\n"
        "except Exception as error: assert type(error).__name__ == 'ShutDown', error",
        name,
    )
    assert said(makes) == []
    assert said(takes) == [str(i) for i in range(100)]


def test_what_is_in_a_queue_outlives_all_programs(name: str) -> None:
    assert said(program("named.Queue.create(name).put_many(['a', 2, None])", name)) == []
    assert said(program("print(named.Queue.open(name).get_many(9))", name)) == ["['a', 2, None]"]
    assert said(program("print(named.Queue.open(name).qsize())", name)) == ["0"]


def test_each_kind_is_the_same_thing_in_another_program(name: str) -> None:
    lock, rlock = named.Lock.create(f"{name}-l"), named.RLock.create(f"{name}-r")
    semaphore, event = named.Semaphore.create(f"{name}-s", 2, 3), named.Event.create(f"{name}-e")
    condition, barrier = named.Condition.create(f"{name}-c"), named.Barrier.create(f"{name}-b", 2)
    rwlock, memory = named.RWLock.create(f"{name}-w"), named.Memory.create(f"{name}-m", 1000)
    memory.buf[:3] = b"abc"
    with lock, rlock, rwlock.read:
        semaphore.acquire()
        other = program(
            "assert not named.Lock.open(name + '-l').acquire(False)\n"
            "assert not named.RLock.open(name + '-r').acquire(False)\n"
            "semaphore = named.Semaphore.open(name + '-s')\n"
            "assert semaphore.acquire(False) and not semaphore.acquire(False)\n"
            "rwlock = named.RWLock.open(name + '-w')\n"
            "assert not rwlock.acquire_write(False) and rwlock.acquire_read(False)\n"
            "rwlock.release_read()\n"
            "memory = named.Memory.open(name + '-m')\n"
            "assert memory.size == 1000 and bytes(memory.buf[:3]) == b'abc'\n"
            "memory.buf[999] = 7\n"
            "named.Event.open(name + '-e').set()\n"
            "condition = named.Condition.open(name + '-c')\n"
            "with condition: assert condition.wait(30)\n"
            "print(named.Barrier.open(name + '-b').wait(30) in (0, 1))",
            name,
        )
        assert event.wait(30), said(other)
    while condition._core.waiting() == 0:
        time.sleep(0.001)
    with condition:
        condition.notify()
    barrier.wait(30)
    assert said(other) == ["True"]
    assert memory.buf[999] == 7 and semaphore.get_value() == 0
    for _ in range(3):
        semaphore.release()
    with pytest.raises(ValueError, match="too many times"):
        semaphore.release()


def test_an_array_over_named_memory(name: str) -> None:
    numpy = pytest.importorskip("numpy")
    memory = named.Memory.create(name, 800)
    array = numpy.frombuffer(memory.buf, dtype="f8")
    array[:] = 2.5
    assert said(
        program("import struct; print(sum(struct.unpack('100d', named.Memory.open(name).buf)))", name)
    ) == ["250.0"]


def test_whoever_comes_first_makes_it(name: str) -> None:
    source = (
        "lock = named.Lock.ensure(name + '-l'); memory = named.Memory.ensure(name + '-m', 8)\n"
        "for _ in range(500):\n"
        "    with lock: memory.buf[:8] = (int.from_bytes(memory.buf[:8], 'little') + 1).to_bytes(8, 'little')"
    )
    for process in [program(source, name) for _ in range(4)]:
        said(process)
    assert int.from_bytes(named.Memory.open(f"{name}-m").buf[:8], "little") == 2000


def test_it_travels_by_its_name(name: str) -> None:
    queue, lock = named.Queue.create(f"{name}-q"), named.Lock.create(f"{name}-l")
    other = pickle.loads(pickle.dumps(queue))
    other.put(lock)
    with lock:
        assert not queue.get().acquire(False)


# ---- deaths


@pytest.mark.parametrize("kind", ["Lock", "RLock"])
def test_a_dead_owner_is_reported_to_another_program(name: str, kind: str) -> None:
    lock = getattr(named, kind).create(name)
    owner = program(
        f"lock = named.{kind}.open(name); lock.acquire(); print('in', flush=True); time.sleep(60)", name
    )
    assert owner.stdout is not None and owner.stdout.readline() == "in\n"
    assert not lock.acquire(timeout=0.05)
    owner.kill()
    owner.communicate()
    with pytest.raises(OwnerDiedError):
        lock.acquire(timeout=30)
    assert lock.recover(timeout=30)
    lock.release()
    assert said(program(f"print(named.{kind}.open(name).acquire(timeout=1))", name)) == ["True"]


@pytest.mark.parametrize("victim", ["producer", "consumer"])
def test_a_killed_end_leaves_the_queue_to_the_other(name: str, victim: str) -> None:
    queue = named.Queue.create(name, max_bytes=1 << 16)
    if victim == "producer":
        dies = program("queue = named.Queue.open(name)\ni = 0\nwhile True: queue.put(i); i += 1", name)
        for expected in range(20_000):
            assert queue.get(timeout=30) == expected
        dies.send_signal(signal.SIGKILL)
        dies.communicate()
        rest = [queue.get() for _ in range(queue.qsize())]
        assert rest == list(range(20_000, 20_000 + len(rest)))
        queue.put("still here")
        assert queue.get(timeout=30) == "still here"
        return
    dies = program("queue = named.Queue.open(name)\nwhile True: queue.get()", name)
    for i in range(20_000):
        queue.put(i, timeout=30)
    dies.send_signal(signal.SIGKILL)
    dies.communicate()
    left = queue.qsize()
    rest = [queue.get(timeout=30) for _ in range(left)]
    assert rest == list(range(20_000 - left, 20_000))


def test_a_robust_semaphore_gives_back_what_the_dead_had(name: str) -> None:
    semaphore = named.Semaphore.create(name, 2, robust=True)
    assert semaphore.robust and named.Semaphore.open(name).robust
    owner = program(
        "semaphore = named.Semaphore.open(name)\n"
        "semaphore.acquire(); semaphore.acquire(); print('in', flush=True); time.sleep(60)",
        name,
    )
    assert owner.stdout is not None and owner.stdout.readline() == "in\n"
    assert not semaphore.acquire(False)
    with pytest.raises(ValueError, match="no permit"):
        semaphore.release()
    owner.kill()
    owner.communicate()
    assert semaphore.acquire(timeout=30) and semaphore.acquire(timeout=30)
    assert semaphore.died == 2
    with pytest.raises(named.SegmentError):
        named.Lock.open(name)
    with pytest.raises(ValueError, match="never has more permits"):
        named.Semaphore.create(f"{name}-2", 2, 3, robust=True)
    assert not named.Semaphore.create(f"{name}-3", 2).robust


def test_an_end_held_by_one_who_lives_is_busy(name: str) -> None:
    named.Queue.create(name, max_bytes=4096).put(1)
    offset = 4096 + 64  # the word of the tail's lock: pid and start time of its owner
    holder = program("print(open('/proc/self/stat').read().rsplit(')', 1)[1].split()[19]); input()", name)
    assert holder.stdout is not None
    start = int(holder.stdout.readline())
    path = Path(f"/dev/shm/{name}")
    data = bytearray(path.read_bytes())
    struct.pack_into("<II", data, offset, holder.pid, start & 0xFFFFFFFF)
    with path.open("r+b") as file:
        file.write(data)
    with pytest.raises(OSError, match="a process that lives has held it") as caught:
        named.Queue.open(name)
    assert caught.value.errno == errno.EBUSY and caught.value.filename == name
    holder.kill()
    holder.communicate()
    assert named.Queue.open(name).get(timeout=30) == 1  # its owner is dead: repaired


def test_clean_lists_names_and_removes_those_that_nobody_has_open(name: str, capsys: Any) -> None:
    from manyhands.cli import main

    kept = named.Lock.create(f"{name}-l")
    said(program("named.Queue.create(name + '-q').put(1)", name))
    said(program("named.Semaphore.create(name + '-s', 1, robust=True)", name))
    Path(f"/dev/shm/{name}-x").write_bytes(b"no segment at all, and longer than a header")
    assert main(["clean"]) == 0
    out = capsys.readouterr().out
    size = os.stat(f"/dev/shm/{name}-l").st_size
    assert f"kept /dev/shm/{name}-l ({size:,} bytes): a named Lock, in use\n" in out
    assert f"{name}-q" in out and ": a named Queue, which nobody has open\n" in out
    assert ": a named Semaphore, which nobody has open\n" in out
    assert f"{name}-x" not in out
    assert main(["clean", "--named", "--dry-run"]) == 0
    assert f"would remove /dev/shm/{name}-q" in capsys.readouterr().out
    assert os.path.exists(f"/dev/shm/{name}-q")
    assert kept.acquire(False)


def test_clean_named_removes_what_nobody_has_open(name: str, monkeypatch: Any, capsys: Any) -> None:
    from manyhands._impl import named_files
    from manyhands.cli import main

    lock = named.Lock.create(f"{name}-l")
    said(program("named.Event.create(name + '-e')", name))
    whole = named_files.find  # of this test alone: others' names are none of its business
    monkeypatch.setattr(named_files, "find", lambda: [f for f in whole() if f.name.startswith(name)])
    assert main(["clean", "--named"]) == 0
    out = capsys.readouterr().out
    assert f"removed /dev/shm/{name}-e" in out and "a named Event, which nobody had open" in out
    assert f"kept /dev/shm/{name}-l" in out
    assert not os.path.exists(f"/dev/shm/{name}-e") and os.path.exists(f"/dev/shm/{name}-l")
    assert lock.acquire(False)


def test_a_maker_that_was_killed_at_it(name: str) -> None:
    Path(f"/dev/shm/{name}").touch(0o600)
    for kind in (named.Lock, named.Queue):
        with pytest.raises(BlockingIOError, match="its maker is still at it, or was killed at it") as caught:
            kind.open(name)
        assert caught.value.errno == errno.EAGAIN and caught.value.filename == name
    segment = core.NamedSegment(f"{name}-2", 5, 100)
    with pytest.raises(BlockingIOError):
        core.NamedSegment(f"{name}-2", 5)
    del segment  # not published: its name goes with it
    with pytest.raises(FileNotFoundError):
        core.NamedSegment(f"{name}-2", 5)


# ---- refusals


def test_names_and_their_errors(name: str) -> None:
    for kind in (named.Lock, named.Queue, named.Memory):
        with pytest.raises(FileNotFoundError) as missing:
            kind.open(name)
        assert missing.value.filename == name
    lock = named.Lock.create(name)
    with pytest.raises(FileExistsError):
        named.Lock.create(name)
    with pytest.raises(FileExistsError):
        named.Queue.create(name)
    lock.unlink()
    with pytest.raises(FileNotFoundError):
        named.unlink(name)
    for bad in ("", "a/b", ".hidden", "x" * 251, "with space"):
        with pytest.raises(OSError) as caught:
            named.Lock.create(bad)
        assert caught.value.errno == errno.EINVAL
    with pytest.raises(TypeError, match=r"Lock\.create"):
        named.Lock("name")
    with pytest.raises(TypeError, match=r"Queue\.create"):
        named.Queue()
    with pytest.raises(ValueError):
        named.Memory.create(name, 0)
    with pytest.raises(OSError) as caught:
        named.Queue.create(name).fileno()
    assert caught.value.errno == errno.EOPNOTSUPP


def test_what_cannot_be_made_leaves_no_name(name: str) -> None:
    with pytest.raises(ValueError):
        named.Semaphore.create(name, 5, 2)
    with pytest.raises(ValueError):
        named.Barrier.create(name, 0)
    room = os.statvfs("/dev/shm")
    with pytest.raises(OSError) as caught:
        named.Memory.create(name, room.f_frsize * room.f_blocks + 1)
    assert caught.value.errno == errno.ENOSPC
    assert not os.path.exists(f"/dev/shm/{name}")


def patched(name: str, **fields: Any) -> None:
    path = Path(f"/dev/shm/{name}")
    data = bytearray(path.read_bytes())
    keys = ["magic", "order", "layout", "pointer_size", "kind", "total", "user", "id", "library"]
    values = dict(zip(keys, struct.unpack_from(HEADER, data), strict=True)) | fields
    struct.pack_into(HEADER, data, 0, *values.values())
    path.write_bytes(data)


@pytest.mark.parametrize("kind", [named.Lock, named.Queue, named.Memory])
def test_another_layout_is_refused_with_both_versions(name: str, kind: Any) -> None:
    kind.create(name, *([100] if kind is named.Memory else []))
    patched(name, layout=77, library=b"9.8.7")
    with pytest.raises(
        named.SegmentError, match=r"made by manyhands 9\.8\.7 \(layout 77.*this is manyhands"
    ) as caught:
        kind.open(name)
    assert name in str(caught.value) and manyhands.__version__ in str(caught.value)


def test_one_kind_is_not_opened_as_another(name: str) -> None:
    named.Semaphore.create(f"{name}-s")
    named.Queue.create(f"{name}-q")
    for kind in (named.Lock, named.Memory, named.Queue):
        with pytest.raises(named.SegmentError):
            kind.open(f"{name}-s")
    with pytest.raises(named.SegmentError):
        named.Lock.open(f"{name}-q")
    Path(f"/dev/shm/{name}").write_bytes(b"a shopping list, and not at all a segment " * 200)
    with pytest.raises(named.SegmentError):
        named.Lock.open(name)


DAMAGE = """
import random
kind = getattr(named, sys.argv[2])
path = f"/dev/shm/{name}"
whole = open(path, "rb").read()
rng = random.Random(int(sys.argv[3]))
opened = refused = 0
for trial in range(300):
    data = bytearray(whole)
    area = rng.choice([(0, 64), (4096, 4096 + 128), (4096, 8192)])
    for _ in range(rng.choice([1, 1, 4, 64])):
        data[rng.randrange(*area)] = rng.choice([0, 1, 0x7f, 0x80, 0xff, rng.randrange(256)])
    for lock in (4096 + 64, 4096 + 128): # of a queue's ends: an owner that lives is waited for, and it could be anybody
        data[lock : lock + 8] = whole[lock : lock + 8]
    if trial % 10 == 0:
        data = data[: rng.randrange(len(data))]
    open(path, "wb").write(data)
    try:
        found = core(kind, name)
    except (named.SegmentError, BlockingIOError, ValueError, MemoryError, OSError):
        refused += 1
        continue
    opened += 1
    del found
print(opened + refused, refused > 0)
"""
OPEN = """
def core(kind, name):
    return kind._found(name) if hasattr(kind, '_found') else kind.__new__(kind)._open_named(name)
"""


@pytest.mark.parametrize("kind", ["Lock", "Condition", "Barrier", "RWLock", "Semaphore", "Queue", "Memory"])
def test_damage_is_refused_and_crashes_nobody(name: str, kind: str) -> None:
    arguments = {"Barrier": [3], "Memory": [100], "Queue": []}.get(kind, [])
    getattr(named, kind).create(name, *arguments)
    assert said(program(OPEN + DAMAGE, name, kind, "7")) == ["300 True"]


def test_another_user_cannot_open_it(name: str) -> None:
    if os.getuid() != 0:
        pytest.skip("needs root, to become somebody else")
    named.Lock.create(f"{name}-l")
    named.Queue.create(f"{name}-q")
    assert (
        os.stat(f"/dev/shm/{name}-l").st_mode & 0o777
        == 0o600
        == os.stat(f"/dev/shm/{name}-q").st_mode & 0o777
    )
    child = os.fork()
    if child == 0:
        status = 1
        with contextlib.suppress(BaseException):
            ctypes.CDLL(None).setuid(65534)
            refused = 0
            for kind, suffix in ((named.Lock, "l"), (named.Queue, "q"), (named.Memory, "l")):
                try:
                    kind.open(f"{name}-{suffix}")
                except PermissionError:
                    refused += 1
            status = 0 if refused == 3 and os.getuid() == 65534 else 1
        os._exit(status)
    assert os.waitpid(child, 0)[1] == 0


def test_the_example() -> None:
    path = Path(__file__).parents[3] / "examples" / "python" / "named_queue.py"
    done = subprocess.run([sys.executable, path], capture_output=True, text=True, timeout=60)
    assert done.stderr == "" and done.returncode == 0
    assert done.stdout.splitlines() == [
        "the press has printed page 1",
        "the press was killed while it held the printer",
        "the next one repaired it: 1 page was printed, 2 are left",
        "the press has printed page 3",
        "the press has printed page 2",
    ]
