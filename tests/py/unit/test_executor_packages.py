"""Executors beside the packages that people have: rich and tqdm, notebooks, uvloop, threadpoolctl. For real, each in a
program of its own; what is not installed is left out."""

import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import manyhands
import pytest

if not manyhands.compiled():
    pytest.skip("needs the compiled core", allow_module_level=True)

HERE = Path(__file__).parent
LONG = 60


def environment():
    path = os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PYTHONPATH": path, "TERM": "xterm", "COLUMNS": "100", "LINES": "40"}


def run(program, tmp_path):
    """What it printed."""
    script = tmp_path / "program.py"
    script.write_text(program)
    done = subprocess.run(
        [sys.executable, script], env=environment(), capture_output=True, text=True, timeout=LONG
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# ---- progress on a terminal

BARS = """
import sys, time
import executor_helpers as tasks
from manyhands import Executor
if "{without}":
    sys.modules["{without}"] = None
with Executor("{kind}", 2) as executor:
    for _ in executor.map(tasks.square, range(4), progress="outer"):
        assert sum(executor.map(tasks.square, range(5), progress="inner")) == 30
    if {stay}:
        print("ready", flush=True)
        for _ in executor.map(tasks.nap, [0.01] * 10**6, buffersize=4, progress="long"):
            pass
"""


def on_a_terminal(script, interrupt):
    """Everything it wrote to a terminal of its own, and how it ended; Ctrl-C once it is ready."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(sys.executable, [sys.executable, str(script)], environment())
    termios.tcsetwinsize(terminal, (40, 100))
    said, end = b"", time.monotonic() + LONG
    try:
        while time.monotonic() < end:
            if select.select([terminal], [], [], 0.1)[0]:
                try:
                    more = os.read(terminal, 65536)
                except OSError:  # nobody has its other end open
                    more = b""
                if not more:
                    break
                said += more
            if interrupt and said.count(b"long") >= 2:  # it has been drawn
                os.write(terminal, b"\x03")
                interrupt = False
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        pid = None
    finally:
        os.close(terminal)
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    return said.decode(), status


@pytest.mark.parametrize("kind", ["threads", "processes"])
@pytest.mark.parametrize("package, without", [("rich", ""), ("tqdm", "rich")])
def test_bars_on_a_terminal_nest_and_reach_their_end(package, without, kind, tmp_path):
    pytest.importorskip(package)
    script = tmp_path / "bars.py"
    script.write_text(BARS.format(without=without, kind=kind, stay=False))
    said, status = on_a_terminal(script, False)
    assert status == 0 and "Traceback" not in said and "Warning" not in said, said
    assert "outer" in said and "inner" in said and "100%" in said, said
    assert said.count("\x1b[?25h") >= said.count("\x1b[?25l"), "the cursor stays hidden"


@pytest.mark.parametrize("kind", ["threads", "processes"])
@pytest.mark.parametrize("package, without", [("rich", ""), ("tqdm", "rich")])
def test_ctrl_c_closes_the_bar_and_gives_one_traceback(package, without, kind, tmp_path):
    pytest.importorskip(package)
    script = tmp_path / "bars.py"
    script.write_text(BARS.format(without=without, kind=kind, stay=True))
    said, status = on_a_terminal(script, True)
    assert status in (-signal.SIGINT, 130, 1), said
    plain = re.sub(r"\x1b\[[\d;]*m", "", said)  # from 3.13 on tracebacks have colours
    assert plain.count("Traceback") == 1 and plain.rstrip().endswith("KeyboardInterrupt"), said
    assert said.count("\x1b[?25h") >= said.count("\x1b[?25l"), "the cursor stays hidden"


# ---- notebooks

CELLS = [
    "import manyhands, executor_helpers as tasks",
    'print(sum(manyhands.map(tasks.square, range(100), kind="{kind}", max_workers=2, progress="all of them")))',
    """
with manyhands.Executor("{kind}", 2) as executor:
    for _ in executor.map(tasks.square, range(3), progress="outer"):
        sum(executor.map(tasks.square, range(3), progress="inner"))
    print("nested")
""",
    """
with manyhands.Executor("{kind}", 2) as executor:
    for _ in executor.map(tasks.nap, [0.01] * 10**6, buffersize=4, progress="long"):
        open("begun", "w").close()
""",
    'print("alive", sum(manyhands.map(tasks.square, range(3), kind="{kind}", max_workers=2)))',
]


def notebook(kind, folder, monkeypatch):
    """Run the cells in a kernel of this Python; the fourth is interrupted as by the stop button. Their outputs."""
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    import asyncio

    import nbformat

    monkeypatch.setenv("PYTHONPATH", environment()["PYTHONPATH"])
    monkeypatch.setenv("IPYTHONDIR", str(folder / "ipython"))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(folder / "runtime"))
    cells = [nbformat.v4.new_code_cell(text.format(kind=kind)) for text in CELLS]
    made = nbformat.v4.new_notebook(cells=cells)
    client = nbclient.NotebookClient(
        made, timeout=LONG, allow_errors=True, resources={"metadata": {"path": str(folder)}}
    )
    manager = client.create_kernel_manager()
    manager.kernel_spec.argv[0] = sys.executable

    async def interrupt():
        while not (folder / "begun").exists():
            await asyncio.sleep(0.02)
        await client.km.interrupt_kernel()

    async def all_cells():
        async with client.async_setup_kernel():
            stop = asyncio.ensure_future(interrupt())
            for number, cell in enumerate(made.cells):
                await client.async_execute_cell(cell, number)
            await stop

    asyncio.run(all_cells())
    return [cell.outputs for cell in made.cells]


def text_of(outputs):
    return "".join(one.get("text", "") + str(one.get("data", "")) for one in outputs)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["threads", "processes"])
def test_progress_and_the_stop_button_in_a_notebook(kind, tmp_path, monkeypatch):
    _, one, nested, stopped, after = notebook(kind, tmp_path, monkeypatch)
    assert "328350" in text_of(one) and "nested" in text_of(nested)
    widgets = [each for each in one if "application/vnd.jupyter.widget-view+json" in each.get("data", {})]
    assert widgets or "100%" in text_of(one), one
    assert not any(each["output_type"] == "error" for each in one + nested)
    assert "Warning" not in text_of(one + nested)
    errors = [each for each in stopped if each["output_type"] == "error"]
    assert [each["ename"] for each in errors] == ["KeyboardInterrupt"], stopped
    assert "Traceback" not in text_of(stopped)  # of a worker
    assert text_of(after).strip() == "alive 5"


# ---- uvloop

UVLOOP = """
import asyncio, sys, uvloop
import executor_helpers as tasks
from manyhands import Executor
from manyhands.futures import wait

async def main():
    loop = asyncio.get_running_loop()
    assert isinstance(loop, uvloop.Loop)
    async with Executor("{kind}", 2) as executor:
        assert await executor.run(tasks.square, 7) == 49
        assert await loop.run_in_executor(executor, tasks.square, 8) == 64
        assert await asyncio.wrap_future(executor.submit(tasks.square, 9)) == 81
        assert await asyncio.gather(*(executor.run(tasks.square, i) for i in range(50))) == [i * i for i in range(50)]
        assert [r async for r in executor.map(tasks.square, range(30), buffersize=3)] == [i * i for i in range(30)]
        try:
            await asyncio.wait_for(executor.run(tasks.spin), 0.3)
        except TimeoutError:
            pass
        try:
            await executor.options(timeout=0.2).run(tasks.spin)
        except TimeoutError:
            print("limited")
        assert await executor.run(tasks.square, 3) == 9
    print("done")

asyncio.Runner(loop_factory=uvloop.new_event_loop).run(main())
"""


@pytest.mark.parametrize("kind", ["threads", "processes"])
def test_uvloop(kind, tmp_path):
    pytest.importorskip("uvloop")
    assert run(UVLOOP.format(kind=kind), tmp_path).split() == ["limited", "done"]


# ---- threadpoolctl

INNER = """
import numpy, threadpoolctl
from manyhands import Executor

def blas():
    import numpy
    return sorted(lib["num_threads"] for lib in threadpoolctl.threadpool_info() if lib["user_api"] == "blas")

if __name__ == "__main__":
    before = blas()
    with Executor("{kind}", 2, inner_threads=1) as executor:
        print(*executor.submit(blas).result())
    assert blas() == before, (blas(), before)
    print("restored")
"""


@pytest.mark.parametrize("kind", ["threads", "processes"])
def test_threadpoolctl(kind, tmp_path):
    pytest.importorskip("threadpoolctl")
    pytest.importorskip("numpy")
    *counts, restored = run(INNER.format(kind=kind), tmp_path).split()
    assert counts and set(counts) == {"1"} and restored == "restored"


def test_numpy_in_workers_has_its_share_of_the_cores_by_itself(tmp_path, monkeypatch):
    """Without `inner_threads=`, where numpy was loaded before the fork."""
    pytest.importorskip("threadpoolctl")
    pytest.importorskip("numpy")
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    cores = len(os.sched_getaffinity(0))
    program = INNER.replace(", 2, inner_threads=1", f", {cores}").format(kind="processes")
    *counts, _ = run(program, tmp_path).split()
    assert counts and set(counts) == {"1"}


NO_THREADS = """
import os, numpy
from manyhands import Executor

def told():
    import threadpoolctl
    return [lib["num_threads"] for lib in threadpoolctl.threadpool_info() if lib["user_api"] == "blas"]

def multiply():
    return int((numpy.ones((300, 300)) @ numpy.ones((300, 300))).sum())

def in_worker():
    threads = len(os.listdir("/proc/self/task"))
    return *told(), threads, multiply()

if __name__ == "__main__":
    multiply()
    before = told()
    with Executor("processes", {workers}, {how}) as executor:
        print(*executor.submit(in_worker).result())
    print(told() == before)
"""


def in_worker(tmp_path, how, workers=2, program=NO_THREADS):
    """What BLAS says there of its threads, and how many there are in all."""
    numbers, kept = run(program.format(how=how, workers=workers), tmp_path).splitlines()
    *counts, threads, product = map(int, numbers.split())
    assert kept == "True" and product == 300**3
    return set(counts), threads


@pytest.fixture
def no_variables(monkeypatch):
    pytest.importorskip("threadpoolctl")
    pytest.importorskip("numpy")
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("no_variables")
@pytest.mark.parametrize("exported", [True, False])
def test_telling_blas_starts_no_threads_in_a_forked_worker(tmp_path, exported):
    """OpenBLAS's own function would, as many as there are cores, and they spin."""
    hide = "import manyhands.futures._inner as inner; inner._variable = lambda library: None"
    program = NO_THREADS if exported else NO_THREADS.replace("import os", f"{hide}\nimport os", 1)
    assert in_worker(tmp_path, "inner_threads=1", program=program) == ({1}, 1)


@pytest.mark.usefixtures("no_variables")
def test_what_the_environment_says_of_blas_stands(tmp_path, monkeypatch):
    """Unless `inner_threads=` asks for another number."""
    cores = len(os.sched_getaffinity(0))
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", str(cores))
    assert in_worker(tmp_path, "")[0] == {cores}
    assert in_worker(tmp_path, "inner_threads=1")[0] == {1}


@pytest.mark.usefixtures("no_variables")
def test_workers_of_a_worker_share_its_cores(tmp_path):
    """What the outer executor has put into the environment is not taken for the user's word."""
    cores = len(os.sched_getaffinity(0))
    program = NO_THREADS.replace(
        "print(*executor.submit(in_worker).result())", f"print(*executor.submit(nested, {cores}).result())"
    ).replace(
        "if __name__",
        """def nested(cores):
    with Executor("processes", cores) as executor:
        return executor.submit(in_worker).result()

if __name__""",
        1,
    )
    assert in_worker(tmp_path, "", workers=1, program=program)[0] == {1}


@pytest.mark.usefixtures("no_variables")
def test_a_limit_of_the_parent_is_not_raised_in_its_workers(tmp_path):
    limited = "import threadpoolctl; threadpoolctl.threadpool_limits(1); before = told()"
    program = NO_THREADS.replace("before = told()", limited)
    assert in_worker(tmp_path, "", workers=1, program=program)[0] == {1}


FORKED_MEANWHILE = """
import os, threading, threadpoolctl, numpy
from manyhands.futures import _inner

def blas():
    return sorted(lib["num_threads"] for lib in threadpoolctl.threadpool_info() if lib["user_api"] == "blas")

def forked():
    pid = os.fork()
    if pid == 0:
        print("other", blas() == before, flush=True)
        with _inner.limited_fork(1, True):  # the lock is free there
            print("nested", set(blas()), flush=True)
        os._exit(0)
    os.waitpid(pid, 0)

_inner._variable = lambda library: None  # as where OpenBLAS does not export it
threadpoolctl.threadpool_limits(2)
before = blas()
with _inner.limited_fork(1, True), _inner.limited_fork(1, True):
    assert set(blas()) == {1}
    other = threading.Thread(target=forked)
    other.start()
    other.join()
    pid = os.fork()
    if pid == 0:
        print("worker", set(blas()), flush=True)
        os._exit(0)
    os.waitpid(pid, 0)
assert blas() == before
print("restored")
"""


def test_what_blas_is_told_before_a_fork_is_for_the_worker_alone(tmp_path):
    pytest.importorskip("threadpoolctl")
    pytest.importorskip("numpy")
    assert run(FORKED_MEANWHILE, tmp_path).splitlines() == [
        "other True",
        "nested {1}",
        "worker {1}",
        "restored",
    ]
