"""The recipes: complete programs of examples/python, run on real input as a user would."""

from __future__ import annotations

import importlib.util
import json
import os
import pwd
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import manyhands
import pytest

if not manyhands.compiled():
    pytest.skip("needs the compiled core", allow_module_level=True)

ROOT = Path(__file__).resolve().parents[3]
FOLDER = ROOT / "examples" / "python"
sys.path.insert(0, str(ROOT / "tools" / "docs"))


def run(name: str, *words: object, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(FOLDER / name), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=110, **options)  # type: ignore[call-overload]


def good(name: str, *words: object, **options: object) -> str:
    done = run(name, *words, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout


def wait_until(condition, seconds: float = 60) -> None:
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, "it did not come to that"
        time.sleep(0.01)


# ---- the window


def test_window(tmp_path: Path) -> None:
    if importlib.util.find_spec("tkinter") is None or importlib.util.find_spec("_tkinter") is None:
        pytest.skip("this Python has no tkinter")
    if shutil.which("Xvfb") is None:
        pytest.skip("needs Xvfb: apt install xvfb")
    import screen

    picture = tmp_path / "window.png"
    said = screen.shoot([sys.executable, str(FOLDER / "window.py"), "--demo", "3"], picture, 2)
    parts, gap = map(int, re.search(r"(\d+) parts done; .*: (\d+) ms", said).groups())  # type: ignore[union-attr]
    assert parts > 0 and gap < 3000, (
        said
    )  # a window that does not move while it computes has one gap: all of the demo
    assert picture.stat().st_size > 2000  # an empty screen is smaller


# ---- the web server


@pytest.fixture
def server():
    command = [sys.executable, str(FOLDER / "web_server.py"), "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    address = process.stdout.readline().strip()
    yield address, process
    process.kill()
    process.wait()
    process.stdout.close()


def get(url: str) -> dict:
    with urllib.request.urlopen(url, timeout=60) as answer:
        return json.loads(answer.read())


def test_requests_do_not_wait_for_a_heavy_one(server) -> None:
    address, process = server
    assert get(address + "primes/100") == {"below": 100, "primes": 25}
    answers = []
    heavy = threading.Thread(target=lambda: answers.append(get(address + "primes/400000")))
    heavy.start()
    for _ in range(20):
        assert get(address) == {"hello": "here I am"}
    assert not answers, "the heavy one was ready before twenty others: it tells nothing"
    heavy.join()
    assert answers == [{"below": 400000, "primes": 33860}]
    wait_until(lambda: get(address + "status")["done"] == 2)  # counted a moment after the answer
    with pytest.raises(urllib.error.HTTPError, match="404"):
        get(address + "nothing")
    process.send_signal(signal.SIGTERM)
    assert process.stdout.read() == "closed\n" and process.wait() == 0


# ---- the job queue


def rows(place: str) -> list[tuple]:
    if place.startswith("postgresql:"):
        import psycopg as database
    else:
        database = sqlite3  # type: ignore[misc]
    jobs = database.connect(place)
    try:
        return jobs.execute("SELECT state, tries, worker, result FROM jobs ORDER BY id").fetchall()
    finally:
        jobs.close()


@pytest.fixture
def postgres():
    """A server of our own, made anew; its address."""
    folders = [
        *Path("/usr/lib/postgresql").glob("*/bin"),
        Path(shutil.which("postgres") or "/nowhere").parent,
    ]
    binaries = next((folder for folder in folders if (folder / "postgres").exists()), None)
    if binaries is None:
        pytest.skip("no PostgreSQL server at hand: apt install postgresql")
    try:
        import psycopg
    except ImportError as error:
        pytest.skip(f"PostgreSQL's library for clients: {error}")
    user = {}
    if os.getuid() == 0:  # which the server does not run as
        user = {"user": next(one.pw_name for one in pwd.getpwall() if one.pw_name in ("postgres", "nobody"))}
    with tempfile.TemporaryDirectory() as folder:
        shutil.chown(folder, **user) if user else None
        data = Path(folder, "data")
        command = [binaries / "initdb", "-D", data, "-U", "cook", "-A", "trust", "--no-sync"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=folder, **user)
        server = subprocess.Popen(
            [binaries / "postgres", "-D", data, "-k", folder, "-c", "listen_addresses=", "-c", "fsync=off"],
            stderr=subprocess.DEVNULL,
            cwd=folder,
            **user,
        )
        address = f"postgresql://cook@/postgres?host={folder}"

        def listens() -> bool:
            try:
                psycopg.connect(address).close()
            except psycopg.OperationalError:
                assert server.poll() is None, "the server has ended"
                return False
            return True

        wait_until(listens)
        yield address
        server.send_signal(signal.SIGINT)  # the "fast" end
        server.wait()


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return str(tmp_path / "jobs.db")
    return request.getfixturevalue("postgres")


def test_job_queue(place: str, tmp_path: Path) -> None:
    files = sorted((ROOT / "docs").rglob("*.md"))[:12]
    assert good("job_queue.py", place, "add", *files, tmp_path / "missing") == "13 jobs added\n"
    assert good("job_queue.py", place, "work", 3) == "no job waits; 0 workers died\n"
    found = rows(place)
    assert [row[0] for row in found] == ["done"] * 12 + ["failed"]
    for file, row in zip(files, found, strict=False):
        assert row[1] == 1 and row[3].startswith(f"{len(file.read_text().split())} words"), row
    assert "FileNotFoundError" in good("job_queue.py", place, "list").splitlines()[-1]


def test_a_job_that_kills_its_workers_is_given_up(place: str, tmp_path: Path) -> None:
    """A pipe without a writer holds its reader: there each of three workers is killed. The others' jobs are done."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    good("job_queue.py", place, "add", pipe, *sorted((ROOT / "docs/howto").glob("*.md")))
    command = [sys.executable, str(FOLDER / "job_queue.py"), place, "work", "2"]
    work = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    for tries in (1, 2, 3):
        wait_until(lambda tries=tries: rows(place)[0][:2] == ("running", tries))
        os.kill(rows(place)[0][2], signal.SIGKILL)
    said, _ = work.communicate(timeout=60)
    assert said == "no job waits; 3 workers died\n"
    first, *others = rows(place)
    assert first == ("failed", 3, None, "its worker died, 3 times")
    assert {row[:2] for row in others} == {("done", 1)}


# ---- pages, images, progress, migration


def test_fetch_pages() -> None:
    one, many = good("fetch_pages.py").splitlines()
    what = re.compile(r"60 pages, (\d+) words in ([\d.]+) s")
    first, second = what.search(one), what.search(many)
    assert first and second and first[1] == second[1]
    assert float(first[2]) >= 3.0  # sixty times 50 ms


def test_fetch_pages_of_a_site_on_disk(tmp_path: Path) -> None:
    for n in range(30):
        (tmp_path / f"{n}.html").write_text(
            f'<p>three plain words</p><a href="{n + 1}.html#top"></a><a href="gone.html">'
        )
    server = subprocess.Popen(
        [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        port = re.search(r"port (\d+)", server.stdout.readline())[1]  # type: ignore[index,union-attr]
        said = good("fetch_pages.py", f"http://127.0.0.1:{port}/0.html", 500)
    finally:
        server.kill()
        server.communicate()
    # thirty there; the thirty-first and gone.html are not: one word each, the number 404
    assert said == "32 pages, 92 words\n"


def test_blur_image(tmp_path: Path) -> None:
    numpy = pytest.importorskip("numpy")
    image = numpy.zeros((40, 50, 3), "u1")
    image[20, 25] = 169  # one point, of thirteen times thirteen
    source, target = tmp_path / "in.ppm", tmp_path / "out.ppm"
    source.write_bytes(b"P6\n# a point\n50 40\n255\n" + image.tobytes())
    assert "50 x 40 pixels, 1 parts, equal: True" in good("blur_image.py", source, target)
    head, pixels = target.read_bytes()[:13], target.read_bytes()[13:]
    assert head == b"P6\n50 40\n255\n"
    blurred = numpy.frombuffer(pixels, "u1").reshape(40, 50, 3)
    expected = numpy.zeros((40, 50, 3), "u1")
    expected[14:27, 19:32] = 1
    assert numpy.array_equal(blurred, expected)


def test_resume_after_ctrl_c_and_a_power_cut(tmp_path: Path) -> None:
    path = tmp_path / "results.txt"
    command = [sys.executable, str(FOLDER / "resume.py"), str(path), "12"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_until(lambda: path.exists() and path.read_bytes().count(b"\n") >= 2)
    process.send_signal(signal.SIGINT)
    said, errors = process.communicate(timeout=60)
    kept = path.read_bytes().count(b"\n")
    if process.returncode != 0:  # 0: it was ready before
        assert process.returncode == 130 and f"interrupted: {kept} of 12 parts are kept" in said, errors
    with open(path, "a") as file:
        file.write("7 1234")  # a line that was cut short
    said = good("resume.py", path, 12)
    assert said.startswith(f"{kept} parts are there, {12 - kept} to do\n")
    assert said.endswith("below 240,000 the longest chain begins at 230,631: 442 steps\n")
    assert good("resume.py", path, 12).startswith("12 parts are there, 0 to do\n")


def test_migrate() -> None:
    lines = good("migrate.py").splitlines()
    assert [line.split(":")[0] for line in lines if "->" in line] == [
        "with_pool -> with_our_pool",
        "with_joblib -> with_map",
        "with_futures -> with_executor",
    ]


def test_threads_or_processes(tmp_path: Path) -> None:
    out = tmp_path / "figures.json"
    said = good("threads_or_processes.py", "--quick", "--json", out)
    found = json.loads(out.read_text())["rows"]
    assert len(said.splitlines()) == len(found) + 2
    assert [row["name"] for row in found][:4] == ["start", "start-forkserver", "start-spawn", "memory"]
    figures = [row for row in found if row["unit"] and row["name"] != "memory"]
    assert all(value is None or value > 0 for row in figures for value in row["values"])
    values = {row["name"]: row["values"] for row in found}
    assert values["crash"] == ["0 of 2", "2 of 2"]
    assert values["debugger"] == ["yes", "no"]
    threads, processes = values["stacks"]
    assert processes > threads, "eight commands take longer than one"


LISTENS = 'sys.stdin = open("/dev/tty")'
AT_THE_TERMINAL = f"""
import sys
import manyhands.multiprocessing as mp

def stop_and_look(order):
    {LISTENS}
    breakpoint()
    return order

if __name__ == "__main__":
    worker = mp.Process(target=stop_and_look, args=("soup",))
    worker.start()
    worker.join()
    sys.exit(worker.exitcode)
"""
ON_A_TERMINAL = "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))"


def test_a_debugger_in_a_worker_listens_to_the_terminal(tmp_path: Path) -> None:
    """As docs/guide/which.md says below its figures."""
    assert f"`{LISTENS}`" in (ROOT / "docs/guide/which.md").read_text()
    script = tmp_path / "stop.py"
    script.write_text(AT_THE_TERMINAL)
    command = [sys.executable, "-c", ON_A_TERMINAL, sys.executable, str(script)]
    commands = "p order.upper()\ncontinue\n"
    done = subprocess.run(command, input=commands, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0 and "'SOUP'" in done.stdout, done.stdout + done.stderr
