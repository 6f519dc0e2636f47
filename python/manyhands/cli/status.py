"""``python -m manyhands status``: which public names are manyhands' own, and which the standard library's."""

from __future__ import annotations

import argparse
import json

from manyhands import _status

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--summary", action="store_true", help="one line a module")
    parser.add_argument("--json", action="store_true", help="the whole list as JSON")


def run(options: argparse.Namespace) -> int:
    from manyhands import __version__, compiled

    rows = _status.survey()
    if options.json:
        print(json.dumps([row._asdict() for row in rows], indent=1))
        return 0
    core = "compiled core" if compiled() else "no compiled core: the standard library does the work"
    print(f"manyhands {__version__}, {core}\n")
    for module in dict.fromkeys(row.module for row in rows):
        _print_module(module, [row for row in rows if row.module == module], options.summary)
    ours = sum(row.ours for row in rows)
    print(f"\n{ours} of {len(rows)} public names are manyhands' own; the others are the standard library's.")
    return 0


def _print_module(module: str, rows: list[_status.Row], summary: bool) -> None:
    ours = [row.name for row in rows if row.ours]
    theirs = [row.name for row in rows if not row.ours]
    print(f"{module:44} {len(ours):3} ours {len(theirs):4} stdlib")
    if not summary:
        for row in rows:
            print(f"    {row.name:40} {'ours' if row.ours else 'stdlib'}")
