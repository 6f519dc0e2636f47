"""``python -m manyhands explain``: what an error means and what to do, by its code or by its text."""

from __future__ import annotations

import argparse
import sys
import textwrap

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "words", nargs="*", metavar="CODE | MESSAGE", help="without: a traceback on standard input"
    )
    parser.epilog = (
        "python app.py 2>&1 | python -m manyhands explain     explains the errors of a whole output"
    )


def run(options: argparse.Namespace) -> int:
    from manyhands._trouble_table import TROUBLES, found_in

    if not options.words and sys.stdin.isatty():
        width = max(len(one.code) for one in TROUBLES)
        for one in TROUBLES:
            print(f"{one.code:{width}}  {one.title}")
        return 0
    found = found_in(" ".join(options.words) if options.words else sys.stdin.read())
    for one in found:
        print(f"{one.code}: {one.title}\n")
        print(textwrap.indent(textwrap.fill(one.text.replace("`", ""), 96), "    ") + "\n")
    if not found:
        print("manyhands explain: no error of ours is in that", file=sys.stderr)
    return 0 if found else 1
