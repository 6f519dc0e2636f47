"""The command line: ``python -m manyhands COMMAND``."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

__all__ = ["main"]

# Command: (module, one line of help). A module has add_arguments(parser) and run(options) -> exit status.
COMMANDS = {
    "clean": (
        "manyhands.cli.clean",
        "remove named shared memory that killed programs left behind",
    ),
    "compare": (
        "manyhands.cli.compare",
        "threads or processes? measure it, on your function or on four built-in jobs",
    ),
    "dump": (
        "manyhands.cli.dump",
        "what every thread of a running program is doing: stack, locks held, locks waited for",
    ),
    "explain": ("manyhands.cli.explain", "what an error of manyhands means, and what to do about it"),
    "run": ("manyhands.cli.run", "run an unmodified program with manyhands in place of the standard library"),
    "status": (
        "manyhands.cli.status",
        "list which public names are manyhands' own and which the standard library's",
    ),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status: 0, 1 if the work failed, 2 if the call was wrong, 130 on Ctrl-C."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == ["run"]:  # what a program does with Ctrl-C and its output is the program's own affair
        return _main(given)
    try:
        status = _main(given)
        sys.stdout.flush()
    except KeyboardInterrupt:  # also while modules are being imported
        print(f"manyhands {' '.join(given[:1])}: interrupted", file=sys.stderr, flush=True)
        return 130
    except BrokenPipeError:  # the reader of our output has gone (`| head`): nothing left to say to it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return status


def _main(given: list[str]) -> int:
    parser = _parser(given[0] if given else None)
    if given[:1] == ["run"] and given[1:2] not in (["-h"], ["--help"]):
        options = parser.parse_args(["run"])  # all that follows is the program's, dashes and all
        options.program = given[1:]
    else:
        options = parser.parse_args(given)
    if options.command is None:
        parser.print_help()
        return 2
    return int(importlib.import_module(COMMANDS[options.command][0]).run(options))


def _parser(command: str | None) -> argparse.ArgumentParser:
    """Only the command that was asked for is imported: `run` must not load what its program may not want."""
    from manyhands import __version__

    parser = argparse.ArgumentParser(
        prog="python -m manyhands",
        description="Threads, processes and everything between them.",
        epilog="python -m manyhands COMMAND --help tells more.",
    )
    parser.add_argument("--version", action="version", version=f"manyhands {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name, (module, text) in COMMANDS.items():
        sub = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        if name == command:
            importlib.import_module(module).add_arguments(sub)
    return parser
