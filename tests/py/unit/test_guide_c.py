"""docs/guide/c.md speaks of functions and files that there are."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PAGES = [ROOT / "docs" / "guide" / "c.md", ROOT / "docs" / "abi.md"]


def test_every_name_is_declared() -> None:
    headers = "".join(path.read_text() for path in (ROOT / "include" / "manyhands").glob("*.h"))
    known = set(re.findall(r"\b(?:mh|MH)_\w+", headers))
    for page in PAGES:
        text = re.sub(r"`mh_\*`|`mh__\w*`|`MH__\w*`", "", page.read_text())
        names = set(re.findall(r"\b(?:mh|MH)_[a-zA-Z]\w*", text)) - {"mh_x", "MH_X"}
        unknown = {name for name in names if not any(one.startswith(name) for one in known)}
        assert names and not unknown, (page, unknown)


def test_every_link_leads_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            assert (page.parent / target).exists(), (page, target)


def test_every_example_is_named() -> None:
    text = PAGES[0].read_text()
    for source in (ROOT / "examples" / "c").glob("*.c"):
        assert source.name in text or source.stem == "race", source
