"""``python -m manyhands clean``: remove what programs left behind that were killed with all their processes."""

from __future__ import annotations

import argparse
import sys

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-n", "--dry-run", action="store_true", help="only say what would be removed")
    parser.add_argument(
        "--named", action="store_true", help="also remove what manyhands.named made and nobody has open"
    )
    parser.epilog = (
        "Only named blocks of multiprocessing.shared_memory that manyhands made for this user are looked at, and only "
        "those are removed whose program has no process left. Blocks made with track=False are meant to stay, and do. "
        "So are locks, queues and memory of manyhands.named: they are listed, and removed with --named alone."
    )


def _clean_named(options: argparse.Namespace) -> int:
    """List what has a name, and with --named remove what nobody has open."""
    from manyhands._impl import named_files

    status = 0
    for found in list(named_files.find()):
        text = f"/dev/shm/{found.name} ({found.size:,} bytes): a named {found.kind}"
        if found.used or not options.named:
            print(f"kept {text}, {'in use' if found.used else 'which nobody has open'}")
            continue
        try:
            if not options.dry_run:
                named_files.remove(found)
        except OSError as error:
            print(f"manyhands clean: {found.name}: {error.strerror}", file=sys.stderr)
            status = 1
            continue
        print(f"{'would remove' if options.dry_run else 'removed'} {text}, which nobody had open")
    return status


def run(options: argparse.Namespace) -> int:
    return max(_clean_blocks(options), _clean_named(options))


def _clean_blocks(options: argparse.Namespace) -> int:
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
