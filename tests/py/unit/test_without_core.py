"""The package without its compiled core: everything is there, on the standard library, and that is said once."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import manyhands
import pytest

SUBJECTS = Path(__file__).resolve().parent.parent / "compare_subjects" / "subjects.py"
SAYS = "runs on the standard library alone"


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """A folder for sys.path with the package's Python files alone."""
    folder = tmp_path_factory.mktemp("bare")
    source = Path(manyhands.__file__).resolve().parent
    shutil.copytree(source, folder / "manyhands", ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    return folder


def python(bare, *arguments):
    environment = {name: value for name, value in os.environ.items() if name != "MANYHANDS_NO_CORE"}
    environment["PYTHONPATH"] = str(bare)
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=100,
        env=environment,
        cwd=bare,
    )


def test_the_import_says_it_once(bare):
    done = python(
        bare, "-c", "import manyhands, manyhands.threading, manyhands.futures; print(manyhands.compiled())"
    )
    assert done.returncode == 0 and done.stdout == "False\n"
    assert done.stderr.count(SAYS) == 1


def test_children_do_not_say_it_again(bare):
    code = (
        "import subprocess, sys, manyhands\n"
        "subprocess.run([sys.executable, '-c', 'import manyhands.threading'], check=True)\n"
    )
    done = python(bare, "-c", code)
    assert done.returncode == 0 and done.stderr.count(SAYS) == 1


@pytest.mark.parametrize("name", ["threading", "queue", "multiprocessing", "futures"])
def test_all_public_names_are_there(bare, name):
    std = {"futures": "concurrent.futures"}.get(name, name)
    code = (
        f"import {std} as std, manyhands.{name} as ours\n"
        "print([n for n in std.__all__ if getattr(ours, n) is not getattr(std, n)])\n"
    )
    done = python(bare, "-c", code)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[]\n"


def test_programs_run(bare, tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        "import threading\nthread = threading.Thread(target=print, args=('ran',))\nthread.start()\n"
    )
    done = python(bare, "-m", "manyhands", "run", program)
    assert (done.returncode, done.stdout) == (0, "ran\n")


def test_compare_works(bare):
    done = python(bare, "-m", "manyhands", "compare", f"{SUBJECTS}:nap", "--items", 20, "--seconds", 2)
    assert done.returncode == 0, done.stderr
    assert "-> Use threads" in done.stdout and "Results equal." in done.stdout


def test_status_says_that_no_engine_is_ours(bare):
    done = python(bare, "-m", "manyhands", "status")
    assert done.returncode == 0 and "no compiled core" in done.stdout
    ours = [line.split()[0] for line in done.stdout.splitlines() if line.endswith("  ours")]
    assert ours == ["WorkerDiedError"]  # a name for handlers; nothing raises it here
