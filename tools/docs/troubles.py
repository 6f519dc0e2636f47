#!/usr/bin/env python3
"""Write what the errors mean into docs/guide/troubleshooting.md, from python/manyhands/_trouble_table.py."""

from __future__ import annotations

import importlib.util
import re
import textwrap
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "guide" / "troubleshooting.md"


def table() -> str:
    spec = importlib.util.spec_from_file_location(
        "_trouble_table", ROOT / "python/manyhands/_trouble_table.py"
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return "".join(section(one) for one in module.TROUBLES)


def section(one: tuple[str, str, tuple[str, ...], str]) -> str:
    code, title, pieces, text = one
    words = textwrap.fill(f"**{title}.** {text}", 128, break_long_words=False, break_on_hyphens=False)
    out = f"### {code}\n\n{words}"
    shown = ", ".join(f"`... {piece.strip()} ...`" for piece in pieces)
    return out + (f"\n\nMessage: {shown}\n\n" if shown else "\n\n")


def filled(page: str) -> str:
    return re.sub(
        r"(<!-- errors -->\n\n).*?(<!-- end of errors -->)", lambda m: m[1] + table() + m[2], page, flags=re.S
    )


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text()))
