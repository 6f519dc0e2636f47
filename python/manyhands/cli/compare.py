"""``python -m manyhands compare``: threads or processes?"""

from __future__ import annotations

import argparse
import os
import sys
import threading
from pathlib import Path

EXAMPLES = """\
without a function: four built-in jobs on the source files of Python's own standard library.

  python -m manyhands compare job.py:work --items 'data/*'     work(path) for each file
  python -m manyhands compare job.py:work --items @urls.txt    work(line) for each line
  python -m manyhands compare package.module:work --items 200  work(0) ... work(199)

exit status: 0 all engines did the work, 1 the work failed somewhere, 2 the call was wrong, 130 Ctrl-C
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `compare`."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EXAMPLES
    parser.add_argument(
        "function",
        nargs="?",
        metavar="FILE.py:FUNCTION | MODULE:FUNCTION",
        help="the function to compare; it is called with one item, many times over",
    )
    parser.add_argument(
        "--items",
        metavar="GLOB|@FILE|N",
        help="what to call it with: paths, a file's lines, or the numbers below N",
    )
    parser.add_argument(
        "--workers", metavar="N,...", help="numbers of workers to try (default: as fits the work)"
    )
    parser.add_argument(
        "--seconds",
        type=float,
        metavar="S",
        help="the time box for each function (default: 15, for a built-in job 30)",
    )
    parser.add_argument("--only", metavar="NAME,...", help="of the built-in jobs, run only these")
    parser.add_argument("--json", metavar="OUT", help="write every sample to this file")
    parser.add_argument("--html", metavar="OUT", help="write one self-contained page with charts")


def _complain(message: str) -> None:
    print(f"manyhands compare: {message}", file=sys.stderr, flush=True)


def run(options: argparse.Namespace) -> int:
    """Compare; returns the exit status."""
    from manyhands.advise.errors import CompareError

    try:
        status = _run(options)
    except KeyboardInterrupt:
        _complain("interrupted")
        status = 130
    except CompareError as error:
        _complain(f"{error} [{error.code}]")
        status = error.status
    except BrokenPipeError:  # the reader of our output has gone: nothing left to say to it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 1
    if _a_call_goes_on():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    return status


def _a_call_goes_on() -> bool:
    """Is a thread still in a call of the user's function, which cannot be ended? It is not to be waited for."""
    from manyhands.advise import engines

    for thread in engines.left_behind:
        thread.join(0.1)
    others = (thread for thread in threading.enumerate() if thread is not threading.main_thread())
    return any(not thread.daemon or thread in engines.left_behind for thread in others)


def _run(options: argparse.Namespace) -> int:
    from manyhands.advise import session

    request = session.Request(
        function=options.function,
        items=options.items,
        workers=_workers(options.workers),
        seconds=_seconds(options.seconds),
        only=tuple(options.only.split(",")) if options.only else (),
    )
    for name in ("json", "html"):
        _writable(name, getattr(options, name))
    comparison, interrupted = session.run(request)
    if not interrupted:
        if options.json:
            comparison.save_json(options.json)
        if options.html:
            comparison.save_html(options.html)
            print(f"Charts:       {options.html}")
    if interrupted:
        _complain("interrupted")
        return 130
    return 1 if comparison.failed else 0


def _workers(text: str | None) -> tuple[int, ...] | None:
    from manyhands.advise.api import check_workers
    from manyhands.advise.errors import BadInput

    if text is None:
        return None
    try:
        return check_workers([int(part) for part in text.split(",")])
    except ValueError:
        raise BadInput(f"--workers {text}: write numbers from 1 to 1000, such as --workers 2,8") from None


def _seconds(value: float | None) -> float | None:
    from manyhands.advise.errors import BadInput

    if value is not None and not 0 < value <= 86400:
        raise BadInput(f"--seconds {value:g}: write a number of seconds above 0, at most a day")
    return value


def _writable(option: str, name: str | None) -> None:
    """Complain about an output file before the work, not after."""
    from manyhands.advise.errors import BadInput

    if name is None or name == "-":
        return
    path = Path(name)
    if path.is_dir():
        raise BadInput(f"--{option} {name}: that is a folder")
    if not path.absolute().parent.is_dir():
        raise BadInput(f"--{option} {name}: there is no folder '{path.parent}'")
    if not os.access(path if path.exists() else path.absolute().parent, os.W_OK):
        raise BadInput(f"--{option} {name}: may not be written")
