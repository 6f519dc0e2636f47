"""python -m bench [--only GLOB ...] [--json PATH] [--pairs N] [--check [FILE]] | --list

Each row names an operation. Ours and its peer are timed in turn, in the workers themselves, and the ratio is taken pair
by pair: machines drift, ratios within one run do not. `--check` exits with 1 where a row is behind its goal or missing;
`--check FILE` judges the figures that `--json FILE` has kept, and measures nothing.
"""

from __future__ import annotations

import argparse
import sys

from bench import report, runner


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--only", action="append", default=[], metavar="GLOB", help="row names, * allowed; may be given again"
    )
    parser.add_argument("--json", metavar="PATH", help="write the figures there, too")
    parser.add_argument("--pairs", type=int, default=9, help="pairs of samples per row (default %(default)s)")
    parser.add_argument(
        "--check",
        nargs="?",
        const="",
        metavar="FILE",
        help="judge: what is measured, or what --json kept in FILE",
    )
    parser.add_argument("--list", action="store_true", help="print the names of the rows")
    options = parser.parse_args()
    if options.check:
        try:
            return report.check(report.read(options.check), options.only)
        except (OSError, ValueError) as error:
            print(f"bench: --check {options.check}: {error}", file=sys.stderr)
            return 2
    rows = runner.select(options.only)
    if not rows:
        print(
            f"bench: no row is called {' or '.join(options.only)}; --list prints their names", file=sys.stderr
        )
        return 2
    if options.list:
        print("\n".join(row.name for row in rows))
        return 0
    results = report.show(runner.measure(row, options.pairs) for row in rows)
    if options.json:
        report.write(options.json, results)
    return 0 if options.check is None else report.check({r.name: r.ratio for r in results}, options.only)


if __name__ == "__main__":
    sys.exit(main())
