"""`python -m manyhands compare` as a user calls it: short real runs, bad input, and what is left behind."""

import json
import os
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

import manyhands
import pytest
from manyhands.advise import engines
from manyhands.advise.errors import WorkFailed

SUBJECTS = Path(__file__).resolve().parent.parent / "compare_subjects" / "subjects.py"
INTERPRETERS = engines.has_interpreters()
MULTI_CORE = len(os.sched_getaffinity(0)) > 1 if hasattr(os, "sched_getaffinity") else True

pytestmark = pytest.mark.timeout(120)


def marked(mark):
    """Live processes whose environment has the mark: everything that a command has started."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid():
            try:
                if mark.encode() in Path(f"/proc/{name}/environ").read_bytes():
                    found.append(int(name))
            except OSError:
                continue
    return found


class Command:
    """One run of the command in a folder of its own; `check_left` says that nothing was left behind."""

    def __init__(self, tmp_path, *arguments, **more):
        self.mark = f"COMPARE_TEST_MARK={os.getpid()}-{time.monotonic_ns()}"
        name, _, value = self.mark.partition("=")
        environment = dict(os.environ, **{name: value}, PYTHONWARNINGS="default")
        self.tmp = tmp_path / "tmp"
        self.tmp.mkdir(exist_ok=True)
        environment["TMPDIR"] = str(self.tmp)
        self.shm = set(os.listdir("/dev/shm")) if os.path.isdir("/dev/shm") else set()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "manyhands", "compare", *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            cwd=tmp_path,
            start_new_session=True,
            **more,
        )

    def finish(self):
        self.out, self.err = self.process.communicate(timeout=100)
        self.check_left()
        return self.process.returncode

    def check_left(self):
        deadline = time.monotonic() + 3  # the interpreter's own helpers see the end of their input and go
        while marked(self.mark) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert marked(self.mark) == []
        assert list(self.tmp.iterdir()) == []
        if os.path.isdir("/dev/shm"):
            new = set(os.listdir("/dev/shm")) - self.shm
            assert not {name for name in new if "mp-" in name or "manyhands" in name}


def compare(tmp_path, *arguments):
    command = Command(tmp_path, *arguments)
    command.finish()
    return command


def crowded(found):
    """Did other programs use more than a fifth of a core, by the measurement's own account?"""
    others = [
        sample["extra"].get("others", 0.0)
        for row in found["rows"]
        for sample in (*row["samples"], *row["left_out"])
    ]
    return statistics.median(others) > 0.2


@pytest.mark.parametrize(
    "name, choices",
    [
        ("nap", {"threads"}),
        ("loop", {"processes", "interpreters"}),
        ("sha", {"either", "threads"}),
        ("turns", {"processes-if-unshared"}),
        ("turns_hashing", {"processes-if-unshared"}),
        ("tiny", {"serial"}),
    ],
)
def test_the_verdict_is_right(tmp_path, name, choices):
    if name in ("loop", "sha", "turns_hashing") and not MULTI_CORE:
        pytest.skip("computing work cannot be shared out on one core")
    for seconds in (3, 8):  # a machine that is busy with something else gets a second chance
        options = ("--items", 40, "--seconds", seconds, "--json", "out")
        command = compare(tmp_path, f"{SUBJECTS}:{name}", *options)
        found = json.loads((tmp_path / "out").read_text())["comparisons"][0]
        if found["verdict"]["choice"] in choices:
            break
    if found["verdict"]["choice"] == "unclear" or (
        found["verdict"]["choice"] not in choices and crowded(found)
    ):
        pytest.skip("the cores are busy with something else")
    assert found["verdict"]["choice"] in choices, command.out
    assert command.process.returncode == 0
    assert "Results equal." in " ".join(command.out.split())  # the lines are broken where they are full
    for row in found["rows"]:
        assert len(row["samples"]) >= 1 and row["cpu_s"] >= 0
        assert row["peak_memory_bytes"] > 1_000_000
        assert (row["bytes_moved"] > 0) == (row["engine"] in ("processes", "interpreters"))


@pytest.mark.skipif(not MULTI_CORE, reason="needs a core to be suspicious about")
def test_a_shortcut_is_suspect(tmp_path):
    command = compare(tmp_path, f"{SUBJECTS}:shortcut", "--items", 40, "--seconds", 2, "--json", "out")
    assert json.loads((tmp_path / "out").read_text())["comparisons"][0]["verdict"]["choice"] == "suspect"
    assert "Suspect" in command.out


def test_a_module_function_over_lines_and_files(tmp_path):
    (tmp_path / "mine_for_compare.py").write_text("import os\ndef size(p): return os.path.getsize(p)\n")
    (tmp_path / "list").write_text("abc\nde\n")
    for function, items in (
        ("mine_for_compare:size", "*.py"),
        (f"{SUBJECTS}:line_length", "@list"),
        (f"{SUBJECTS}:point", "9"),
    ):
        command = compare(tmp_path, function, "--items", items, "--seconds", 0.3)
        assert command.process.returncode == 0, command.err


@pytest.mark.parametrize(
    "arguments, words",
    [
        (("nowhere.py:work", "--items", "3"), "no file 'nowhere.py'"),
        (("no_such_module:work", "--items", "3"), "no module 'no_such_module'"),
        ((f"{SUBJECTS}:lop", "--items", "3"), "did you mean 'loop'"),
        ((f"{SUBJECTS}:not_a_function", "--items", "3"), "no function but a int"),
        ((f"{SUBJECTS}:loop",), "say what to call it with"),
        ((f"{SUBJECTS}:loop", "--items", "0"), "nothing to do"),
        ((f"{SUBJECTS}:loop", "--items", "nothing/*.x"), "matches no file"),
        ((f"{SUBJECTS}:loop", "--items", "@nowhere"), "No such file"),
        ((f"{SUBJECTS}:loop", "--items", "3", "--workers", "two"), "--workers two"),
        ((f"{SUBJECTS}:loop", "--items", "3", "--workers", "0"), "--workers 0"),
        ((f"{SUBJECTS}:loop", "--items", "3", "--seconds", "0"), "--seconds 0"),
        ((f"{SUBJECTS}:loop", "--items", "3", "--seconds", "nan"), "--seconds nan"),
        ((f"{SUBJECTS}:loop", "--items", "3", "--json", "no/such/out"), "no folder"),
        ((f"{SUBJECTS}:loop", "--items", "3", "--html", "tmp"), "that is a folder"),
        (("--items", "3"), "--items without a function"),
        (("--only", "cook"), "no built-in job 'cook'"),
    ],
)
def test_bad_input_is_one_clear_message_and_status_2(tmp_path, arguments, words):
    command = compare(tmp_path, *arguments)
    assert command.process.returncode == 2
    assert words in command.err
    assert len(command.err.strip().splitlines()) == 1 and "Traceback" not in command.err
    assert command.out == ""


def test_a_function_that_raises_for_some_items(tmp_path):
    command = compare(tmp_path, f"{SUBJECTS}:raises_for_some", "--items", 40, "--seconds", 1)
    assert command.process.returncode == 1
    assert "raises for 4 of 40 items: 3 (3), 13 (13), 23 (23), 33 (33)" in command.err
    assert command.err.count("Traceback") == 1 and "ValueError: no 3 today" in command.err
    assert "worker.py" not in command.err


def test_a_function_that_exits(tmp_path):
    command = compare(tmp_path, f"{SUBJECTS}:exits", "--items", 4, "--seconds", 1)
    assert command.process.returncode == 1 and "SystemExit" in command.err


@pytest.mark.parametrize(
    "name, words",
    [
        ("generator", "the result of item"),
        ("killed_in_worker", "a worker process died"),
    ],
)
def test_processes_that_fail_leave_the_others_shown(tmp_path, name, words):
    command = compare(tmp_path, f"{SUBJECTS}:{name}", "--items", 20, "--seconds", 1, "--json", "out")
    assert command.process.returncode == 1
    assert words in " ".join(command.out.split()).replace("  ", " ")
    rows = json.loads((tmp_path / "out").read_text())["comparisons"][0]["rows"]
    assert all(row["samples"] for row in rows if row["engine"] != "processes")
    assert all(row["failure"] for row in rows if row["engine"] == "processes")
    assert "Traceback" not in command.err


@pytest.mark.skipif(not INTERPRETERS, reason="from 3.13 on, where there is a GIL")
def test_interpreters_are_compared_where_code_computes(tmp_path):
    command = compare(tmp_path, f"{SUBJECTS}:loop", "--items", 20, "--seconds", 2, "--json", "out")
    rows = json.loads((tmp_path / "out").read_text())["comparisons"][0]["rows"]
    (row,) = (row for row in rows if row["engine"] == "interpreters")
    assert row["samples"] and row["executor"] == "manyhands" and "interpreters 2" in command.out
    compare(tmp_path, f"{SUBJECTS}:nap", "--items", 20, "--seconds", 1, "--json", "out")
    rows = json.loads((tmp_path / "out").read_text())["comparisons"][0]["rows"]
    assert "interpreters" not in {row["engine"] for row in rows}


@pytest.mark.skipif(not INTERPRETERS, reason="from 3.13 on, where there is a GIL")
def test_interpreters_that_may_not_import_a_module_are_a_note_and_no_failure(tmp_path):
    (tmp_path / "refused_for_compare.py").write_text(
        "import readline\ndef work(i):\n    return sum(range(30_000)) + i\n"
    )
    command = compare(tmp_path, "refused_for_compare.py:work", "--items", 40, "--seconds", 2, "--json", "out")
    assert command.process.returncode == 0, command.out
    found = json.loads((tmp_path / "out").read_text())["comparisons"][0]
    assert "interpreters" not in {row["engine"] for row in found["rows"]}
    assert "Left out: interpreters 2" in command.out and "readline" in " ".join(command.out.split())


def test_threads_that_fail_leave_the_others_shown(tmp_path):
    command = compare(tmp_path, f"{SUBJECTS}:raises_on_threads", "--items", 20, "--seconds", 1)
    assert command.process.returncode == 1
    assert "main thread only" in command.out and "processes 2" in command.out


def test_results_that_differ(tmp_path):
    command = compare(tmp_path, f"{SUBJECTS}:differs", "--items", 20, "--seconds", 1)
    assert command.process.returncode == 1 and "RESULTS DIFFER" in " ".join(command.out.split())
    command = compare(tmp_path, f"{SUBJECTS}:random_result", "--items", 20, "--seconds", 1)
    assert command.process.returncode == 0 and "vary from run to run" in " ".join(command.out.split())


@pytest.mark.parametrize(
    "name, after",
    [
        ("some_nap", 0.3),
        ("some_nap", 1.0),
        ("some_nap", 1.7),
        ("some_nap", 2.4),
        ("loop", 2.4),
        ("loop", 3.1),
    ],
)
def test_ctrl_c_at_any_moment(tmp_path, name, after):
    """The signal goes to the whole group, as from a terminal. The second function computes: on interpreters, too."""
    command = Command(tmp_path, f"{SUBJECTS}:{name}", "--items", 20, "--seconds", 60, "--workers", "2,3")
    time.sleep(after)
    os.killpg(command.process.pid, signal.SIGINT)
    began = time.monotonic()
    assert command.finish() == 130
    assert time.monotonic() - began < 8
    assert "interrupted" in command.err and "Traceback" not in command.err


def test_ctrl_c_does_not_wait_for_a_call_that_takes_long(tmp_path):
    (tmp_path / "stuck_for_compare.py").write_text(
        "import threading, time\n"
        "def work(i):\n"
        "    if threading.current_thread() is not threading.main_thread():\n"
        "        print('here', flush=True)\n"
        "        time.sleep(60)\n"
        "    time.sleep(0.01)\n"
    )
    command = Command(tmp_path, "stuck_for_compare.py:work", "--items", 8, "--seconds", 20)
    assert command.process.stdout.readline().startswith("here")
    os.killpg(command.process.pid, signal.SIGINT)
    began = time.monotonic()
    assert command.finish() == 130
    assert time.monotonic() - began < 8


def test_the_page_holds_everything(tmp_path):
    command = compare(tmp_path, f"{SUBJECTS}:some_nap", "--items", 8, "--seconds", 1, "--html", "page.html")
    assert command.process.returncode == 0
    page = (tmp_path / "page.html").read_text()
    assert page.index("Use threads") < page.index("Raw figures")
    drawn_by, _, shown = page.partition("</script>")  # the drawing library's own text is not the page's
    assert 'src="http' not in shown and 'href="http' not in shown and 'src="' not in drawn_by[:4000]
    for words in ("peak memory", "The machine", "processes 2", "How to read it"):
        assert words in page


@pytest.mark.slow
def test_a_built_in_job_in_a_short_time_box(tmp_path):
    command = compare(tmp_path, "--only", "fetch", "--seconds", 2, "--json", "out")
    assert command.process.returncode == 0, command.err
    found = json.loads((tmp_path / "out").read_text())["comparisons"][0]
    assert [(row["engine"], row["workers"]) for row in found["rows"]] == [
        ("serial", 1),
        *((engine, n) for engine in ("threads", "processes") for n in (1, 2, 8, 32)),
    ]
    assert found["equality"] == "Results equal."
    assert len(found["sample"]["files"]) == 64


@pytest.mark.slow
def test_the_server_job_in_a_short_time_box(tmp_path):
    command = compare(tmp_path, "--only", "respond", "--seconds", 2, "--json", "out")
    assert command.process.returncode == 0, command.err
    found = json.loads((tmp_path / "out").read_text())["comparisons"][0]
    assert [row["engine"] for row in found["rows"]] == ["inline", "thread", "process", "none"]
    assert all(sample["wall"] > 0 for row in found["rows"] for sample in row["samples"])
    assert found["equality"] == "Results equal."


def test_from_python():
    factor = 2
    found = manyhands.compare(lambda item: item * factor, range(100), seconds=0.5, workers=2)
    assert found.choice == "serial"
    assert "serial" in str(found) and "Stay serial." in found.verdict
    assert found.data()["comparisons"][0]["rows"][2]["engine"] == "processes"
    assert "<table>" in found._repr_html_()


def test_from_python_bad_input():
    with pytest.raises(TypeError):
        manyhands.compare(3, range(3))
    with pytest.raises(ValueError, match="no items"):
        manyhands.compare(abs, [])
    with pytest.raises(ValueError, match="workers"):
        manyhands.compare(abs, 3, workers=0)
    with pytest.raises(ValueError, match="seconds"):
        manyhands.compare(abs, 3, seconds=0)
    with pytest.raises(WorkFailed, match="raises for 1 of 3 items"):
        manyhands.compare(lambda item: 1 / item, range(3), seconds=0.5)
