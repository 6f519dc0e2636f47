"""The soak: processes that use everything at once are killed at random; then the books are compared.

    make soak MINUTES=10
    python tests/py/crash/soak.py --minutes 10 --kills 10000 --seed 7

It ends when the minutes are over, or after so many kills. The exit status is 1 where anything was lost, doubled,
damaged or left behind, or nothing moved for too long. What a consumer had taken out when it was killed is nobody's
loss: it is counted apart. `--broken NAME` breaks something on purpose, to see that it is found.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from typing import Any

import soak_book as book
import soak_workers as workers
from manyhands import OwnerDiedError
from manyhands import multiprocessing as mp
from manyhands._facade import stdlib_of
from manyhands._impl import core

std_process = stdlib_of("multiprocessing.process")

BROKEN = ("drop", "duplicate", "reorder", "corrupt", "leak", "file", "silent", "stall")
STALL = 10.0  # seconds without a step of anybody on some channel or lock


@dataclass
class Slot:
    """A role that is filled again whenever its process was killed."""

    number: int
    role: str
    name: str
    process: Any = None
    producer: int = 0


class Soak:
    """One run."""

    def __init__(self, seed: int, broken: str = "", size: int = 2) -> None:
        self.seed, self.broken, self.rng = seed, broken, random.Random(seed)
        self.fork, self.forkserver = mp.get_context("fork"), mp.get_context("forkserver")
        if broken != "stall":
            self.forkserver.set_forkserver_preload(["soak_workers"])
        self.files = book.files()
        self.notes = book.Book()
        self.things = workers.Things(self.fork, broken)
        self.channels = {n: book.Channel(n, n in workers.NUMBERED, n == "leased") for n in workers.CHANNELS}
        roles = [(r, n) for n in workers.CHANNELS for r in ("producer", "consumer") for _ in range(size)]
        roles += [("owner", "")] * 3 * size + [("pauser", "")] * size
        self.slots = [Slot(i, *role) for i, role in enumerate(roles)]
        self.left_behind: list[str] = []
        self.started = self.kills = self.failed = 0
        self.kills_of: dict[str, int] = dict.fromkeys(("producer", "consumer", "owner", "pauser"), 0)
        self.steps: dict[str, int] = {}
        self.moved: dict[str, float] = {}
        self.before: dict[str, int] = {}
        self.stalls: dict[str, float] = {}  # the longest of each
        self.stall_said = 1.0
        self.kept: Any = core.block(100_000) if broken == "leak" else None

    # ---- processes

    def start(self, slot: Slot) -> None:
        """Fill it."""
        self.started += 1
        slot.producer = self.started
        self.notes.page(slot.number).clear()
        context = self.forkserver if self.rng.random() < 0.05 else self.fork
        arguments = (slot.role, slot.name, self.things, self.notes.path, slot.number, slot.producer)
        slot.process = context.Process(
            target=workers.work, args=(*arguments, self.rng.getrandbits(32)), daemon=True
        )
        slot.process.start()
        place = slot.process._manyhands_place
        if slot.role != "pauser" and place is not None:
            self.notes.page(slot.number)[book.VICTIM] = slot.process.pid << 32 | place

    def wait_busy(self, slot: Slot) -> None:
        """A moment in which it is at something, where such a moment comes soon: the rest of the time it sleeps."""
        page, end = self.notes.page(slot.number), time.monotonic() + 0.01
        while time.monotonic() < end and not page[book.BUSY] and page[book.TRIED] == page[book.DONE]:
            pass

    def kill(self, slot: Slot) -> None:
        """Kill whoever fills it, and read what it wrote."""
        self.notes.page(slot.number)[book.VICTIM] = 0
        with contextlib.suppress(ProcessLookupError):  # it has ended this moment
            os.kill(slot.process.pid, signal.SIGKILL)
            self.kills += 1
            self.kills_of[slot.role] += 1
        self.bury(slot)

    def bury(self, slot: Slot) -> None:
        slot.process.join(30)
        if slot.process.exitcode is None:
            raise RuntimeError(f"{slot} does not end")
        if slot.process.exitcode not in (-signal.SIGKILL, 255, 0):
            self.failed += 1  # its traceback is on stderr
        slot.process.close()
        slot.process = None
        if slot.role == "pauser":
            self.resume_all()
        page = self.notes.page(slot.number)
        for name, steps in self.steps_of(slot, page).items():
            self.before[name] = self.before.get(name, 0) + steps
        if slot.role == "producer":
            channel = self.channels[slot.name]
            channel.producer_ended(slot.producer, page[book.TRIED], page[book.DONE])
        elif slot.role == "consumer":
            channel = self.channels[slot.name]
            channel.consumer_ended(page.entries(), page[book.BUSY], page[book.CLAIM])
        page.clear()

    def resume_all(self) -> None:
        """Whom a dead pauser may have left standing."""
        for slot in self.slots:
            if slot.process is not None and slot.process.pid is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(slot.process.pid, signal.SIGCONT)

    # ---- progress

    @staticmethod
    def steps_of(slot: Slot, page: book.Page) -> dict[str, int]:
        """Of whom a standstill would be noticed."""
        if slot.role == "owner":
            return {name: page[book.COUNTS + i] for i, name in enumerate(workers.LOCKS)}
        if slot.role == "pauser":
            return {"pauser": page[book.STEPS]}
        return {f"{slot.role} of {slot.name}": page[book.STEPS]}

    def watch(self) -> None:
        """Who has moved since?"""
        now, steps = time.monotonic(), dict(self.before)
        for slot in self.slots:
            for name, count in self.steps_of(slot, self.notes.page(slot.number)).items():
                steps[name] = steps.get(name, 0) + count
        for name, count in steps.items():
            if self.steps.get(name) != count:
                self.moved[name] = now
            elif now - self.moved[name] > self.stalls.get(name, 0):
                self.stalls[name] = now - self.moved[name]
                if self.stalls[name] > self.stall_said + 1:
                    self.stall_said = self.stalls[name]
                    print(self.describe(name), file=sys.stderr, flush=True)
        self.steps = steps

    def describe(self, name: str) -> str:
        """Who stands still, and in what state its processes are."""
        lines = [f"no step of {name!r} for {self.stalls[name]:.1f} s"]
        channel = name.rpartition(" of ")[2]
        if hasattr(getattr(self.things, channel, None), "qsize"):
            lines[0] += f", {getattr(self.things, channel).qsize()} in the queue"
        for slot in self.slots:
            if slot.name == channel or (slot.role == "owner" and name in workers.LOCKS):
                page = self.notes.page(slot.number)
                state = workers.state_of(slot.process.pid) if slot.process is not None else "none"
                lines.append(f"  {slot.role}: {state}, busy {page[book.BUSY]}, steps {page[book.STEPS]}")
        return "\n".join(lines)

    @property
    def stall(self) -> float:
        """The longest of all."""
        return max(self.stalls.values(), default=0.0)

    # ---- the run

    def run(self, seconds: float, kills: int) -> None:
        """Kill until the time is over or that many are dead."""
        for slot in self.slots:
            self.start(slot)
        end = time.monotonic() + seconds
        said = time.monotonic()
        while time.monotonic() < end and self.kills < kills:
            time.sleep(self.rng.uniform(0, 0.03))
            slot = self.rng.choice(self.slots)
            if self.rng.random() < 0.7:
                self.wait_busy(slot)
            self.kill(slot)
            self.start(slot)
            for slot in self.slots:
                if slot.process.exitcode is not None:  # its page was full, or it failed
                    self.bury(slot)
                    self.start(slot)
            self.watch()
            if self.broken == "stall" and self.kills == 5:
                self.stop_all(3)
            if time.monotonic() - said > 30:
                said = time.monotonic()
                print(f"{self.kills} kills, longest stall {self.stall:.2f} s", file=sys.stderr, flush=True)

    def stop_all(self, seconds: float) -> None:
        for slot in self.slots:
            os.kill(slot.process.pid, signal.SIGSTOP)
        time.sleep(seconds)
        self.watch()
        self.watch()
        self.resume_all()

    def finish(self) -> None:
        """All are killed; what is left in the channels is read."""
        for slot in self.slots:
            if slot.process is not None:
                self.kill(slot)
        for name, channel in self.channels.items():
            page = self.notes.page(book.PAGES - 1)
            page.clear()
            consumer = workers.Consumer(self.things, page, name, self.notes.words, self.rng)
            end = time.monotonic() + 60
            self.things.broken = ""
            while self.left(name) and time.monotonic() < end:
                if not consumer.step():
                    channel.consumer_ended(page.entries(), 0, 0)
                    page.clear()
            channel.consumer_ended(page.entries(), 0, 0)
            channel.judge()

    def left(self, name: str) -> bool:
        if name == "pipe":
            return bool(self.things.pipe_out.poll(0.2))
        return not getattr(self.things, name).empty()

    def locks_work(self) -> bool:
        """After all of that each can be taken again, and all permits are there."""
        for name in ("Lock", "RLock", "RWLock"):
            lock = getattr(self.things, name)
            take, give = (
                (lock.acquire, lock.release) if name != "RWLock" else (lock.acquire_write, lock.release_write)
            )
            try:
                held = take(timeout=5)
            except OwnerDiedError:
                held = lock.recover(timeout=5)
            if not held:
                return False
            give()
        seats = [(self.things.Seat, 1), (self.things.Semaphore, 2)]
        return all(all(s.acquire(timeout=5) for _ in range(n)) and s.get_value() == 0 for s, n in seats)

    def result(self) -> dict[str, Any]:
        """The counters."""
        channels = self.channels.values()
        core.arena_sweep()
        locks = [self.notes.protected(i) for i in range(workers.PLACES)]
        if self.broken == "file":
            open("/dev/shm/manyhands-soak-left", "w").close()
        own = std_process.current_process()._config.get(
            "tempdir"
        )  # the fork server's, until this process ends
        self.left_behind = left = sorted(path for path in book.files() - self.files - {own})
        if self.broken == "file":
            os.unlink("/dev/shm/manyhands-soak-left")
        return {
            "kills": self.kills,
            **{f"kills of {role}s": count for role, count in self.kills_of.items()},
            "messages": sum(channel.got for channel in channels),
            "lost": sum(channel.lost for channel in channels),
            "duplicated": sum(channel.duplicated for channel in channels),
            "reordered": sum(channel.reordered for channel in channels),
            "corrupt": sum(channel.corrupt for channel in channels),
            "taken by the dead": sum(channel.taken for channel in channels),
            "delivered again": sum(channel.again for channel in channels),
            "puts cut off": sum(channel.cut for channel in channels),
            "lock steps": sum(self.before.get(name, 0) for name in workers.LOCKS),
            "recovered": sum(int(words[3]) for words in locks),
            "not alone or not told": sum(int(words[2]) for words in locks),
            "locks stuck": int(not self.locks_work()),
            "processes that failed": self.failed,
            "longest stall": round(self.stall, 2),
            "leaked blocks": core.arena_usage()[0],
            "files left": len(left),
        }


ZERO = (
    "lost",
    "duplicated",
    "reordered",
    "corrupt",
    "not alone or not told",
    "locks stuck",
    "processes that failed",
    "leaked blocks",
    "files left",
)


def faults(result: dict[str, Any], stall: float = STALL) -> list[str]:
    """What must not be."""
    found = [name for name in ZERO if result[name]]
    return found + ["longest stall"] * (result["longest stall"] > stall)


def alone() -> int | None:
    """Run this program again where nobody else leaves files: with a /dev/shm and a temporary directory of its own.
    None: this is that run. Without name spaces it is the common /dev/shm, and files of others count as left."""
    if os.environ.get("SOAK_ALONE"):
        return None
    with tempfile.TemporaryDirectory(prefix="soak-") as place:
        environment = {**os.environ, "SOAK_ALONE": "1", "TMPDIR": place}
        inner = 'mount -t tmpfs -o mode=1777 none /dev/shm && exec "$@"'
        command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", inner, "sh"]
        if subprocess.run([*command, "true"], capture_output=True).returncode != 0:
            command = []
        return subprocess.run([*command, sys.executable, *sys.argv], env=environment).returncode


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--kills", type=int, default=1_000_000_000)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--size", type=int, default=2, help="processes for each role")
    parser.add_argument(
        "--stall", type=float, default=STALL, help="seconds without progress that are a fault"
    )
    parser.add_argument("--broken", choices=BROKEN, default="")
    given = parser.parse_args()
    seed = given.seed if given.seed is not None else random.randrange(1 << 32)
    print(f"seed {seed}", flush=True)
    soak = Soak(seed, given.broken, given.size)
    try:
        soak.run(given.minutes * 60, given.kills)
    finally:
        soak.resume_all()
        soak.finish()
    result = soak.result()
    for name, value in result.items():
        print(f"{name:24} {value}")
    for channel in soak.channels.values():
        print(
            f"  {channel.name:10} {channel.got:>9} messages, {channel.taken} taken by the dead, "
            f"{channel.cut} cut off, {channel.lost} lost, {channel.duplicated} doubled, "
            f"{channel.reordered} out of order, {channel.corrupt} damaged"
        )
    stalls = sorted(soak.stalls.items(), key=lambda item: -item[1])[:6]
    print("  longest without a step: " + ", ".join(f"{name} {seconds:.2f} s" for name, seconds in stalls))
    for path in soak.left_behind:
        print(f"  left: {path}")
    wrong = faults(result, given.stall)
    print("FAILED: " + ", ".join(wrong) if wrong else "OK", flush=True)
    return int(bool(wrong))


if __name__ == "__main__":
    status = alone()
    sys.exit(main() if status is None else status)
