"""What the documentation is made of: pictures, the reference, the figures' places."""

from __future__ import annotations

import importlib
import json
import pkgutil
import pydoc
import re
import subprocess
import sys
from pathlib import Path

import manyhands
import pytest

ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT / "tools" / "docs"), str(ROOT / "tools")]
import figures  # noqa: E402
import newcomer  # noqa: E402
import pictures  # noqa: E402
import python_reference  # noqa: E402
import sweep  # noqa: E402

needs_core = pytest.mark.skipif(not manyhands.compiled(), reason="needs the compiled core")


def test_the_kept_pictures_are_what_the_program_draws() -> None:
    for name, draw in pictures.ALL.items():
        assert (ROOT / "docs/pictures" / f"{name}.svg").read_text() == draw().svg(), name


def test_words_stay_within_their_pictures() -> None:
    """Roughly: a letter is half as wide as it is high."""
    for name, draw in pictures.ALL.items():
        picture = draw()
        for x, size, anchor, words in re.findall(
            r'<text x="([\d.]+)".*? font-size="(\d+)".*?text-anchor="(\w+)".*?>(.*?)</text>', picture.svg()
        ):
            width = len(words) * int(size) * 0.5
            left = float(x) - {"start": 0, "middle": width / 2, "end": width}[anchor]
            assert left >= 0 and left + width <= picture.width, (name, words)


def test_the_table_of_tests_that_fail_on_purpose_is_that_of_the_runner() -> None:
    """docs/reference/differences.md shows each line of deliberate.txt, and no other."""
    page = (ROOT / "docs/reference/differences.md").read_text()
    shown = re.findall(r"^\| `([\w*]+)` \| `([^`]+)` \| (.*) \|$", page, re.M)
    lines = (ROOT / "tests/py/conformance/deliberate.txt").read_text().splitlines()
    kept = [line.split(None, 2) for line in lines if line and not line.startswith("#")]
    reasons = [(suite, test, re.sub(r" \([^()]*test_\w+\)$", "", reason)) for suite, test, reason in kept]
    assert shown == reasons and len(shown) > 5


def test_spelling() -> None:
    """Of all that is read: the linter looks at the sources as well."""
    pytest.importorskip("codespell_lib")
    names = ["docs", "README.md", "CONTRIBUTING.md", "CHANGELOG.md", "examples", "include"]
    command = [sys.executable, "-m", "codespell_lib", *names]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    fault = "".join(("t", "eh"))  # in parts, so that the linter does not find it here
    wrong = subprocess.run(
        [*command[:3], "-"], input=f"{fault} cook\n", capture_output=True, text=True, check=False
    )
    assert f"{fault} ==> the" in wrong.stdout


def test_figures_stand_below_the_command_that_makes_them() -> None:
    found = 0
    for page in (ROOT / "docs").rglob("*.md"):
        text = page.read_text()
        for match in re.finditer(r"<!-- figures: ", text):
            found += 1
            before = text[: match.start()].rstrip().splitlines()[-4:]
            assert re.search(r"^(python|make|tools/)|`make ", "\n".join(before), re.M), (page, before)
    assert found >= 2


def test_every_picture_is_drawn_and_shown() -> None:
    shown = set()
    for page in [*(ROOT / "docs").rglob("*.md"), ROOT / "README.md"]:
        for words, target in re.findall(r"!\[([^\]]*)\]\(([^)]+)\)", page.read_text()):
            assert len(words) > 10, (page, target, "words for those who do not see it")
            shown.add(Path(target).name)
    kept = {path.name for path in (ROOT / "docs/pictures").iterdir()}
    assert shown == kept
    # by figures.py, tools/compare_picture, screen.py, sweep.py
    measured = {"figures.svg", "compare.svg", "window.png", "queue-sweep.svg"}
    assert kept - measured == {f"{name}.svg" for name in pictures.ALL}


FAULTS = {
    "grey": ("<h1>Grey</h1><p style='color: #aaa'>words</p>", "contrast 2.32"),
    "wide": ("<h1>Wide</h1><div style='width: 3000px'>words</div>", "moves sideways"),
    "blind": (
        "<h1>Blind</h1><img src='data:image/gif;base64,R0lGODlhAQABAAAAACw='>",
        "no words for the picture",
    ),
    "double": ("<h1>One</h1><h1>Two</h1>", "2 first headings"),
    "deep": (
        "<div class='md-content'><h1>One</h1><h3>Three</h3></div>",
        "a heading of level 3 below one of 1",
    ),
    "held": (
        "<h1>Held</h1><div class='md-content'><pre style='overflow-x: auto'><code>%s</code></pre></div>"
        % ("w" * 999),
        "not by the keyboard",
    ),
    "lost": ("<h1>Lost</h1><a href='#nowhere'>there</a>", "leads nowhere"),
}
KEYS = "<h1>Keys</h1>" + "".join(f"<p><a href='#{n}' id='{n}'>link {n}</a></p>" for n in range(9))


def test_the_look_at_the_site_finds_what_is_wrong(tmp_path: Path) -> None:
    import browser
    import look

    program = browser.found()
    if program is None:
        pytest.skip("needs a Chromium: apt install chromium")
    page = tmp_path / "page.html"
    with browser.Browser(program) as seen:
        seen.look(390, 844, "light")

        def opened(body: str) -> None:
            page.write_text(
                f"<html lang=en><meta name=viewport content='width=device-width'><title>t</title>{body}"
            )
            seen.open(page)

        opened(KEYS)
        assert seen.run(look.SEEN) == []
        assert look.by_keys(seen) == ['the first Tab is no link to the text but A. "link 0"']
        opened(
            KEYS.replace("id='4'", "id='4' style='outline: none'").replace(
                "id='6'", "id='6' style='position: fixed; left: -99px'"
            )
        )
        found = look.by_keys(seen)
        assert any("not marked" in one and "link 4" in one for one in found), found
        assert any("not seen" in one and "link 6" in one for one in found), found
        for body, expected in FAULTS.values():
            opened(body)
            assert any(expected in one for one in seen.run(look.SEEN)), (body, seen.run(look.SEEN))


def test_the_newcomers_commands_are_those_of_the_readme() -> None:
    assert newcomer.commands() == ["make run", "make run ARGS='job.py:work --items 20000'"]
    assert "def work(n):" in newcomer.function()
    steps = [("git clone", 1.2), ("make run", 100.0)]
    assert "| `make run` | 100 |\n| all of it | 101 |" in newcomer.table(steps)


@needs_core
def test_every_public_name_is_in_the_reference() -> None:
    for name, text in python_reference.pages():
        module = importlib.import_module(name)
        heads = re.findall(r"^## (\w+)$", text, re.M)
        assert set(heads) <= set(module.__all__), name
        returned = re.findall(r"^### (\w+)$", text, re.M)
        assert returned == python_reference.returned_names(module), name
        if name in python_reference.MODULES:
            assert sorted(heads) == sorted(module.__all__), name
    threading = dict(python_reference.pages())["manyhands.threading"]
    assert "`pause(timeout: float | None = None" in threading and "`acquire_read(" in threading
    classes = dict(python_reference.pages())["manyhands.multiprocessing.synchronize"]
    assert "`recover(" in classes and "## RWLock" in classes
    assert "### Options" in dict(python_reference.pages())["manyhands.futures"]
    assert "`PAUSED` ('paused')" in threading


@needs_core
def test_the_fields_of_named_tuples_say_what_they_are() -> None:
    """In help() and in the reference. Of itself Python says "Alias for field number 3"."""
    for name, text in python_reference.pages():
        assert "Alias for field" not in text, name
    said = pydoc.render_doc(importlib.import_module("manyhands._impl.observe").ThreadTimes)
    assert "Alias for field" not in said and "The share in which it waited for the GIL." in said
    assert "- `cpu`: Seconds of processor time" in dict(python_reference.pages())["manyhands"]


@needs_core
def test_no_public_module_is_left_out_of_the_reference() -> None:
    """errors is in manyhands itself, and the command line has its own help."""
    shown = {name for name, _ in python_reference.pages()} | {"manyhands.errors", "manyhands.cli"}
    for module in pkgutil.iter_modules(manyhands.__path__, "manyhands."):
        assert module.name in shown or "._" in module.name, module.name


def test_figures_go_to_their_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    busy = 0.0
    rows = [
        {"what": "start", "unit": "s", "values": [1e-4, 2e-3], "threads": "100 µs", "processes": "2 ms"},
        {"what": "compute", "unit": "x", "values": [1.0, 2.0], "threads": "1.0x", "processes": "2.0x"},
    ]
    monkeypatch.setattr(
        figures, "measure", lambda: {"python": "3.99", "cores": 3, "rows": rows, "others": busy}
    )
    (tmp_path / "guide").mkdir()
    (tmp_path / "pictures").mkdir()
    page = tmp_path / "guide" / "which.md"
    page.write_text((ROOT / "docs/guide/which.md").read_text())
    figures.renew(tmp_path)
    assert "Other programs" not in page.read_text()
    assert "| CPython 3.99, 3 cores |" in page.read_text()
    assert (
        "| start | 100 µs | 2 ms |\n| compute | 1.0x | 2.0x |\n\n<!-- end of figures -->" in page.read_text()
    )
    busy = 0.5
    figures.renew(tmp_path)
    assert "Other programs had 50% of the cores" in page.read_text()
    assert "start, threads" in (tmp_path / "pictures" / "figures.svg").read_text()


def test_the_sweep_is_drawn_and_goes_to_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def row(name: str, ours: float, peer: float, unit: str = "ns") -> dict[str, object]:
        return {"name": name, "ours_ns": ours, "peer_ns": peer, "ratio": peer / ours, "unit": unit}

    rows = [
        row("mp/queue-sweep-1mb", 2e5, 2e6),
        row("mp/queue-sweep-1kb", 2_000, 20_000),
        row("mp/queue-sweep-1gb", 1e9, 5e9),
        row("mp/memory-queue", 2048, 3 << 20, "B"),
        row("mp/other", 1, 1),
    ]
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    page = tmp_path / "docs/guide/page.md"
    page.parent.mkdir(parents=True)
    (tmp_path / "docs/pictures").mkdir()
    page.write_text(
        "".join(f"<!-- figures: {n} -->\n\nold\n\n<!-- end of figures -->\n" for n in ("sweep", "use"))
    )
    monkeypatch.setattr(sweep, "ROOT", tmp_path)
    assert sweep.main([str(tmp_path / "rows.json")]) == 0
    text = page.read_text()
    assert "old" not in text and "| 1 GB | 5 s | 1 s | 5 times |" in text
    assert text.index("| 1 KB | 20 µs | 2 µs | 10 times |") < text.index(
        "| 1 MB | 2 ms | 200 µs | 10 times |"
    )
    assert "| memory of a queue through which something went | 3 MiB | 2 KiB |" in text
    drawn = (tmp_path / "docs/pictures/queue-sweep.svg").read_text()
    lines = [line for line in re.findall(r'points="(.*?)"', drawn) if line.count(" ") == 2]
    ours, theirs = (
        [tuple(map(float, p.split(","))) for p in line.split()] for line in (lines[-1], lines[-2])
    )
    for (x, low), (same, high) in zip(ours, theirs, strict=True):
        assert x == same and low > high  # less time is further down
    assert sweep.main([]) == 2


def test_what_is_drawn_fetches_nothing() -> None:
    for path in (ROOT / "docs/pictures").glob("*.svg"):
        text = path.read_text().replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"url\([\"']?http|href=|@import|@font-face", text), path


def test_make_docs_measures_the_messages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = [{"name": f"mp/queue-sweep-{size}", "ours_ns": 1e3, "peer_ns": 2e3, "ratio": 2.0, "unit": "ns"}
            for size in ("1kb", "1mb")]  # fmt: skip
    code = 0

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        [path] = [word.removeprefix("JSON=") for word in command if word.startswith("JSON=")]
        assert command[:3] == ["make", "bench", "ONLY=mp/queue-sweep-*"]
        Path(path).write_text(json.dumps(said))
        return subprocess.CompletedProcess(command, code)

    monkeypatch.setattr(sweep.subprocess, "run", run)
    (tmp_path / "guide").mkdir()
    (tmp_path / "pictures").mkdir()
    page = tmp_path / "guide" / "sharing.md"
    page.write_text((ROOT / "docs/guide/sharing.md").read_text())
    assert sweep.renew(tmp_path)
    assert "| 1 MB | 2 µs | 1 µs | 2 times |" in page.read_text()
    assert "<svg" in (tmp_path / "pictures" / "queue-sweep.svg").read_text()
    code = 1
    assert not sweep.renew(tmp_path)
