"""Named blocks: who is tracked, what `clean` removes, and what it leaves alone."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import manyhands
import pytest

if not manyhands.compiled() or os.environ.get("MANYHANDS_COMPAT") == "strict":
    pytest.skip("needs the compiled core, and its own ways", allow_module_level=True)

from manyhands import multiprocessing as mp
from manyhands._impl import leftovers
from manyhands.cli import main
from manyhands.multiprocessing import managers, shared_memory

MAKE = """
import sys, time
from manyhands.multiprocessing import shared_memory
block = shared_memory.SharedMemory(create=True, size=5000, track={track})
print(block.name, flush=True)
time.sleep(600)
"""


def exists(name: str) -> bool:
    return (Path("/dev/shm") / name).exists()


@pytest.fixture
def left(request: pytest.FixtureRequest) -> Any:
    """A block whose program was killed, the tracker with it."""
    track = getattr(request, "param", True)
    program = subprocess.Popen(
        [sys.executable, "-c", MAKE.format(track=track)],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert program.stdout is not None
    name = program.stdout.readline().strip()
    assert exists(name)
    yield program, name
    with contextlib.suppress(ProcessLookupError):
        os.killpg(program.pid, signal.SIGKILL)
    program.communicate()
    with contextlib.suppress(FileNotFoundError):
        (Path("/dev/shm") / name).unlink()
    leftovers.forget(name)


def kill_all(program: Any) -> None:
    os.killpg(program.pid, signal.SIGKILL)
    program.wait()
    # The tracker, a process of the same group, is not our child: wait until it is gone.
    while (
        subprocess.run(["pgrep", "-g", str(program.pid), "-r", "SRDT"], capture_output=True).returncode == 0
    ):
        pass


def test_clean_removes_what_a_killed_tree_left(left: Any, capsys: pytest.CaptureFixture[str]) -> None:
    program, name = left
    assert main(["clean"]) == 0 and exists(name), "its program lives"
    assert name not in capsys.readouterr().out
    kill_all(program)
    assert main(["clean", "--dry-run"]) == 0 and exists(name)
    assert f"would remove /dev/shm/{name} (5,000 bytes)" in capsys.readouterr().out
    assert main(["clean"]) == 0 and not exists(name)
    assert f"removed /dev/shm/{name} (5,000 bytes): its program is gone" in capsys.readouterr().out
    assert name not in [found.name for found in leftovers.find()]


def test_clean_leaves_another_block_of_the_same_name_alone(
    left: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    program, name = left
    kill_all(program)
    keep = (Path("/dev/shm") / name).open("rb")  # so that its inode is not used again
    (Path("/dev/shm") / name).unlink()
    (Path("/dev/shm") / name).write_bytes(b"somebody's")
    assert main(["clean"]) == 0 and exists(name)
    assert name not in capsys.readouterr().out
    keep.close()


@pytest.mark.parametrize("left", [False], indirect=True)
def test_clean_leaves_what_was_made_to_stay(left: Any) -> None:
    program, name = left
    kill_all(program)
    assert main(["clean"]) == 0 and exists(name)


def test_what_cannot_be_judged_is_left(
    left: Any, monkeypatch: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    program, name = left
    kill_all(program)
    monkeypatch.setattr(leftovers, "open_files", lambda: (set(), False))
    assert main(["clean"]) == 0 and exists(name)
    assert f"left {name}" in capsys.readouterr().err
    monkeypatch.undo()
    monkeypatch.setattr(leftovers, "_namespace", lambda: 1)
    assert main(["clean"]) == 0 and exists(name)


def test_no_record_stays_after_unlink() -> None:
    block = shared_memory.SharedMemory(create=True, size=100)
    assert block.name in [found.name for found in leftovers.find()]
    assert {found.state for found in leftovers.find() if found.name == block.name} == {"alive"}
    block.close()
    block.unlink()
    assert block.name not in [found.name for found in leftovers.find()]


def test_lists_of_attached_programs_do_not_destroy_them() -> None:
    made = shared_memory.ShareableList([1, "two", 3.5])
    code = f"""
from manyhands.multiprocessing import shared_memory
again = shared_memory.ShareableList(name={made.shm.name!r})
assert list(again) == [1, "two", 3.5]
again[0] = 7
again.shm.close()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == ""
    assert made[0] == 7 and exists(made.shm.name)
    assert type(made.shm) is shared_memory.SharedMemory
    made.shm.close()
    made.shm.unlink()


def test_the_manager_removes_its_blocks() -> None:
    with managers.SharedMemoryManager() as manager:
        block, items = manager.SharedMemory(1000), manager.ShareableList([1, 2])
        assert type(block) is shared_memory.SharedMemory and type(items) is shared_memory.ShareableList
        process = mp.get_context("spawn").Process(target=write_first, args=(block, items))
        process.start()
        process.join(60)
        assert process.exitcode == 0 and block.buf[0] == 9 and items[1] == 9
        names = block.name, items.shm.name
        block.close()
        items.shm.close()
    assert not any(map(exists, names))
    mp.active_children()


def write_first(block: Any, items: Any) -> None:
    block.buf[0] = items[1] = 9
    block.close()
    items.shm.close()


def test_a_full_dev_shm_is_said_before_a_write_would_kill(monkeypatch: Any) -> None:
    with pytest.raises(OSError, match="has room for") as caught:
        shared_memory.SharedMemory(create=True, size=1 << 60)
    assert caught.value.errno == errno.ENOSPC


def test_blocks_and_segments_are_the_owner_s_alone() -> None:
    if os.getuid() != 0:
        pytest.skip("needs root, to become somebody else")
    import ctypes

    from manyhands._impl import core

    block = shared_memory.SharedMemory(create=True, size=100)
    arena, value = core.arena_fd(), mp.Value("i", 1)
    slab = value.get_obj()._wrapper._core.place[0]
    paths = [f"/dev/shm/{block.name}", f"/proc/{os.getpid()}/fd/{arena}", f"/proc/{os.getpid()}/fd/{slab}"]
    assert (
        os.stat(paths[0]).st_mode & 0o777
        == os.fstat(arena).st_mode & 0o777
        == os.fstat(slab).st_mode & 0o777
        == 0o600
    )
    child = os.fork()
    if child == 0:
        status = 1
        with contextlib.suppress(BaseException):
            ctypes.CDLL(None).setuid(65534)
            refused = 0
            for path in paths:
                try:
                    os.open(path, os.O_RDWR)
                except PermissionError:
                    refused += 1
            status = 0 if refused == 3 and os.getuid() == 65534 else 1
        os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    block.close()
    block.unlink()


LITTLE = """
import resource
resource.setrlimit(resource.RLIMIT_AS, (1_500_000_000, 1_500_000_000))
from manyhands import multiprocessing as mp, shared
first = shared.block(100_000)
first[0] = 1
try:
    shared.block(6_000_000_000)
except MemoryError as error:
    print(error)
queue = mp.get_context("fork").Queue()
queue.put(first)
assert queue.get()[0] == 1
value, array = mp.Value("i", 3), mp.Array("d", 100)
try:
    mp.RawArray("B", 4_000_000_000)
except (MemoryError, OSError) as error:
    print("refused")
assert value.value == 3
"""


def test_little_address_space() -> None:
    done = subprocess.run([sys.executable, "-c", LITTLE], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "shared memory are left" in done.stdout and "refused" in done.stdout


WITHOUT = """
import os
try:
    open("/dev/shm/x", "w")
except OSError:
    pass
else:
    raise SystemExit("there is a /dev/shm")
from manyhands import multiprocessing as mp, shared
def work(value, array, lock, queue, block, number):
    with lock:
        value.value += 1
        array[1] += 2
    block[0] = 3
    number.add(4)
    queue.put(bytearray(100_000))
if __name__ == "__main__":
    c = mp.get_context("fork")
    things = c.Value("i"), c.Array("d", 3), c.Lock(), c.Queue(), shared.block(5000), shared.AtomicInt()
    p = c.Process(target=work, args=things)
    p.start()
    assert len(things[3].get(timeout=30)) == 100_000
    p.join()
    assert (things[0].value, things[1][1], things[4][0], things[5].value) == (1, 2.0, 3, 4)
    print("works")
"""


def test_without_dev_shm() -> None:
    script = 'mount -t tmpfs -o ro none /dev/shm && exec "$0" -c "$1"'
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script, sys.executable, WITHOUT], capture_output=True, text=True
    )
    if "works" not in done.stdout and ("unshare" in done.stderr or "mount" in done.stderr):
        pytest.skip("no mount namespace can be made here")
    assert done.stdout == "works\n", done.stderr


def test_the_example_runs() -> None:
    pytest.importorskip("numpy")
    program = Path(__file__).parents[3] / "examples" / "python" / "numpy_zero_copy.py"
    done = subprocess.run([sys.executable, program, "1000"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "an array of 8 MB, numpy.ndarray" in done.stdout
    assert "2 workers have written all 1000 rows" in done.stdout and "ms where it is shared" in done.stdout
