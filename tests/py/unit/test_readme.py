"""The README's examples run as printed."""

import os
import pathlib
import re
import subprocess
import sys

import manyhands
import pytest

ROOT = pathlib.Path(__file__).parents[3]
README = (ROOT / "README.md").read_text()
EXAMPLES = dict(re.findall(r"<!-- example: ([\w-]+) -->\n```\w+\n(.*?)```", README, re.S))

needs_core = pytest.mark.skipif(not manyhands.compiled(), reason="needs the compiled core")


def test_the_examples_are_there_and_short():
    assert sorted(EXAMPLES) == ["c-processes", "c-threads", "processes", "threads"]
    for name, text in EXAMPLES.items():
        lines = [line for line in text.splitlines() if line.strip()]
        assert len(lines) <= 20, (name, len(lines))


@needs_core
@pytest.mark.parametrize("name, said", [("threads", "1 job done"), ("processes", "recover()")])
def test_python_examples(tmp_path, name, said):
    script = tmp_path / "example.py"
    script.write_text(EXAMPLES[name])
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and said in done.stdout, done


@pytest.mark.parametrize("name, said", [("c-threads", "paused: yes"), ("c-processes", "hello from process")])
def test_c_examples(tmp_path, name, said):
    build = os.environ.get("MANYHANDS_BUILD")
    library = pathlib.Path(build or "", "core", "libmanyhands.a")
    if not build or not library.exists():
        pytest.skip("needs the build folder: make test")
    (tmp_path / "example.c").write_text(EXAMPLES[name])
    subprocess.run(
        [
            "cc",
            "-std=c11",
            "-Wall",
            "-Wextra",
            "-Werror",
            f"-I{ROOT / 'include'}",
            "example.c",
            str(library),
            "-pthread",
            "-o",
            "example",
        ],
        cwd=tmp_path,
        check=True,
    )
    done = subprocess.run([tmp_path / "example"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and said in done.stdout, done
