"""Each block of code of the guide and of the how-to pages runs as printed, and prints what the page says."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import manyhands
import pytest

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tools" / "docs"))
import blocks as parser  # noqa: E402

PAGES = [
    path
    for folder in ("guide", "howto", "reference")
    for path in sorted((ROOT / "docs" / folder).rglob("*.md"))
]
PAGES += [ROOT / "docs" / "index.md", ROOT / "docs" / "abi.md"]
FOUND = [block for page in PAGES for block in parser.blocks(page)]
FILES = {(block.page, block.options["file"]): block.code for block in FOUND if "file" in block.options}
LIBRARY = Path(os.environ.get("MANYHANDS_BUILD") or "/nowhere", "core", "libmanyhands.a")
STRICT = ["cc", "-std=c11", "-Wall", "-Wextra", "-Werror", "-D_DEFAULT_SOURCE", f"-I{ROOT / 'include'}"]
LANGUAGES = {"python": [sys.executable], "sh": ["bash", "-e"]}

if not manyhands.compiled():
    pytest.skip("needs the compiled core", allow_module_level=True)


def missing(need: str) -> str | None:
    """Why this machine or Python cannot run the block; None where it can."""
    if re.fullmatch(r"3\.\d+", need):
        return None if sys.version_info >= (3, int(need[2:])) else f"Python {need} and newer"
    if need == "gil":
        return None if getattr(sys, "_is_gil_enabled", lambda: True)() else "what the GIL does"
    if need == "cores":
        return None if len(os.sched_getaffinity(0)) > 1 else "two cores and more"
    return None if importlib.util.find_spec(need) else f"needs {need}"


def cases() -> list[object]:
    return [
        pytest.param(block, id=block.name, marks=[pytest.mark.slow] if "slow" in block.options else [])
        for block in FOUND
        if not {"part", "by"} & block.options.keys()
    ]


def run(block: parser.Block, folder: Path) -> subprocess.CompletedProcess[str]:
    for (page, name), code in FILES.items():
        if page == block.page:
            (folder / name).write_text(code)
    script = folder / block.options.get("file", "block")
    script.write_text(block.code)
    (folder / "bin").mkdir()
    (folder / "bin" / "python").symlink_to(sys.executable)
    environment = os.environ | {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "COLUMNS": "100"}
    if block.language == "c":
        program = folder / "program"
        command = [
            *STRICT,
            "-x",
            "c",
            str(script),
            "-x",
            "none",
            str(LIBRARY),
            "-pthread",
            "-o",
            str(program),
        ]
        subprocess.run(command, check=True)
        command = [str(program)]
    else:
        command = [*LANGUAGES[block.language], str(script)]
    return subprocess.run(
        command,
        cwd=ROOT if "root" in block.options else folder,
        capture_output=True,
        text=True,
        timeout=100,
        env=environment,
        check=False,
    )


def why_not(block: parser.Block) -> str | None:
    if "skip" in block.options:
        return block.options["skip"]
    if block.language == "c" and not LIBRARY.exists():
        return "needs the build folder: make test"
    return next(filter(None, map(missing, block.needs)), None)


@pytest.fixture(scope="module")
def runs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    """What each block that was asked for does; as many are run at once as there are cores."""
    calls = [item.callspec for item in request.session.items if hasattr(item, "callspec")]
    wanted = [call.params["block"] for call in calls if isinstance(call.params.get("block"), parser.Block)]
    wanted = [block for block in wanted if why_not(block) is None]
    folders = [tmp_path_factory.mktemp("block") for _ in wanted]
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        return dict(zip((block.name for block in wanted), pool.map(run, wanted, folders), strict=True))


@pytest.mark.timeout(400)  # the first one waits for all
@pytest.mark.parametrize("block", cases())
def test_block(block: parser.Block, runs: dict[str, subprocess.CompletedProcess[str]]) -> None:
    reason = why_not(block)
    if reason is not None:
        pytest.skip(reason)
    done = runs[block.name]
    assert done.returncode == 0, done.stderr
    if "unshown" in block.options:
        assert block.output is None and done.stdout
        return
    assert parser.same(block.output or "", done.stdout, "figures" in block.options), (
        f"the page shows\n{block.output}\nand it prints\n{done.stdout}\n{done.stderr}"
    )


def test_parts_of_programs_are_their_lines() -> None:
    """What a page shows of a program stands in it, line by line but for the indent; the program itself is run."""
    parts = [block for block in FOUND if "part" in block.options]
    assert len(parts) > 5
    for block in parts:
        [program] = (ROOT / "examples").rglob(block.options["part"])
        lines = {line.strip() for line in program.read_text().splitlines()}
        unknown = {line.strip() for line in block.code.splitlines()} - lines - {""}
        assert not unknown, (block.name, unknown)


def test_a_block_that_prints_something_else_is_found() -> None:
    assert not parser.same("3 meals\n", "4 meals\n", figures=False)
    assert not parser.same("3 meals\n", "4 orders\n", figures=True)
    assert parser.same("thread   12.5 ms\n", "thread  3 ms\n", figures=True)
    assert not parser.same("", "something\n", figures=True)


def test_every_link_leads_somewhere() -> None:
    for page in [*(ROOT / "docs").rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]:
        text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.S | re.M)
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            if "://" in target:
                continue
            path, _, anchor = target.partition("#")
            other = (page.parent / path).resolve() if path else page
            made = other.is_relative_to(ROOT / "docs" / "reference") and other.parent.name in ("python", "c")
            assert made or other.exists(), (page, target)
            if anchor and other.suffix == ".md" and not made:
                assert anchor in anchors(other.read_text()), (page, target)


def anchors(text: str) -> set[str]:
    """What a heading is called in an address: as both the site and the usual viewers of Markdown make it."""
    heads = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```$", "", text, flags=re.S | re.M), re.M)
    return {re.sub(r"[^\w\- ]", "", head.lower()).strip().replace(" ", "-") for head in heads}
