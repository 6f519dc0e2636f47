"""``python -m manyhands clean``: remove what programs left behind that were killed with all their processes."""

from __future__ import annotations

import argparse
import sys

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-n", "--dry-run", action="store_true", help="only say what would be removed")
    parser.epilog = (
        "Only named blocks of multiprocessing.shared_memory that manyhands made for this user are looked at, and only "
        "those are removed whose program has no process left. Blocks made with track=False are meant to stay, and do."
    )


def run(options: argparse.Namespace) -> int:
    from manyhands._impl import leftovers

    status, removed, size = 0, 0, 0
    for found in list(leftovers.find()):
        if found.state == "unknown":
            print(f"left {found.name}: its program cannot be seen from here", file=sys.stderr)
        if found.state == "gone" and not options.dry_run:
            leftovers.remove(found)
        if found.state != "dead":
            continue
        try:
            if not options.dry_run and not leftovers.remove(found):
                continue
        except OSError as error:
            print(f"manyhands clean: {found.name}: {error.strerror}", file=sys.stderr)
            status = 1
            continue
        verb = "would remove" if options.dry_run else "removed"
        print(f"{verb} /dev/shm/{found.name} ({found.size:,} bytes): its program is gone")
        removed, size = removed + 1, size + found.size
    what = "to remove" if options.dry_run else "removed"
    print(f"{removed} block{'s' * (removed != 1)} {what}, {size:,} bytes" if removed else "nothing to remove")
    return status
