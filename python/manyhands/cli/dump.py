"""``python -m manyhands dump PID``: what every thread of a running program is doing."""

from __future__ import annotations

import argparse
import sys

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("pid", type=int, metavar="PID", help="the process")
    parser.add_argument(
        "--timeout",
        type=_seconds,
        default=10.0,
        metavar="SECONDS",
        help="how long to wait for its answer (default: 10)",
    )
    parser.epilog = (
        "The program must have imported manyhands.threading, as it has under `python -m manyhands run`; a program on "
        "Python 3.14 or newer need not, where this is the same version. It goes on as if nothing had happened."
    )


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds <= 86400:
        raise argparse.ArgumentTypeError(
            f"{text} is not a time-out: give seconds, more than 0 and at most a day"
        )
    return seconds


def run(options: argparse.Namespace) -> int:
    from manyhands._impl.dump_request import Refused, ask

    try:
        text = ask(options.pid, options.timeout)
    except Refused as refusal:
        print(f"manyhands dump: {refusal} [{refusal.code}]", file=sys.stderr)
        return 1
    print(text, end="")
    return 0
