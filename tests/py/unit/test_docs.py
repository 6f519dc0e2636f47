"""What the documentation is made of: pictures, the reference, the figures' places."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path

import manyhands
import pytest

ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT / "tools" / "docs"), str(ROOT / "tools")]
import figures  # noqa: E402
import pictures  # noqa: E402
import python_reference  # noqa: E402

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


@needs_core
def test_every_public_name_is_in_the_reference() -> None:
    for name, text in python_reference.pages():
        module = importlib.import_module(name)
        heads = re.findall(r"^## (\w+)$", text, re.M)
        assert set(heads) <= set(module.__all__), name
        if name in python_reference.MODULES:
            assert sorted(heads) == sorted(module.__all__), name
    threading = dict(python_reference.pages())["manyhands.threading"]
    assert "`pause(timeout: float | None = None" in threading and "`acquire_read(" in threading
    classes = dict(python_reference.pages())["manyhands.multiprocessing.synchronize"]
    assert "`recover(" in classes and "## RWLock" in classes


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
