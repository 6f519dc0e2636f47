"""The soak's book: what each process says of itself in shared memory, and the judgement over all of it.

A process that is killed says nothing more, so each writes down what it does as it goes: in its page of the book, words
of 64 bits, each a single store; first the entry, then the count that makes it valid. The book is a memfd, which others
open by its path in /proc. The judge reads a page once its process is gone.
"""

from __future__ import annotations

import mmap
import os
import zlib
from array import array
from dataclasses import dataclass, field

PAGES = 96
ENTRIES = 24_000
STEPS, BUSY, TRIED, DONE, CLAIM, COUNT, VICTIM = range(7)  # words of a page; the log begins at HEAD
COUNTS = 8  # of what this process has done of each primitive
HEAD = 32
WORDS = HEAD + 2 * ENTRIES
LOCKS = PAGES * WORDS  # behind the pages: what the locks protect, four words each
END = LOCKS + 64


class Book:
    """The words, as this process sees them."""

    def __init__(self, path: str | None = None) -> None:
        if path is None:
            self.fd = os.memfd_create("soak")
            os.ftruncate(self.fd, END * 8)
        else:
            self.fd = os.open(path, os.O_RDWR)
        self.path = f"/proc/{os.getpid()}/fd/{self.fd}" if path is None else path
        self.memory = mmap.mmap(self.fd, END * 8)
        self.words = memoryview(self.memory).cast("Q")

    def page(self, number: int) -> Page:
        """The page of a process."""
        return Page(self.words, number * WORDS)

    def protected(self, number: int) -> memoryview:
        """The words that lock `number` protects."""
        return self.words[LOCKS + 4 * number : LOCKS + 4 * number + 4]


class Page:
    """One process's page."""

    def __init__(self, words: memoryview, start: int) -> None:
        self.words, self.start = words, start

    def __getitem__(self, word: int) -> int:
        return int(self.words[self.start + word])

    def __setitem__(self, word: int, value: int) -> None:
        self.words[self.start + word] = value

    def add(self, word: int) -> None:
        """One more. Nobody else writes here."""
        self.words[self.start + word] += 1

    def log(self, number: int, producer: int, seq: int, fault: int) -> bool:
        """A message that was got; False where the page is full."""
        count = self[COUNT]
        at = HEAD + 2 * count
        self[at] = number | fault << 32
        self[at + 1] = producer << 32 | seq
        self[COUNT] = count + 1
        return count + 1 < ENTRIES

    def entries(self) -> list[tuple[int, int, int, int]]:
        """(number, producer, seq, fault)"""
        raw = self.words[self.start + HEAD : self.start + HEAD + 2 * self[COUNT]].tolist()
        return [
            (a & 0xFFFFFFFF, b >> 32, b & 0xFFFFFFFF, a >> 32)
            for a, b in zip(raw[::2], raw[1::2], strict=True)
        ]

    def clear(self) -> None:
        """For the next process."""
        for word in range(HEAD):
            self[word] = 0


def make(producer: int, seq: int, size: int) -> tuple[int, int, int, bytes]:
    """A message that can be told from every other one, and from a damaged one."""
    unit = (producer * 1_000_003 + seq).to_bytes(8, "little")
    payload = (unit * (size // 8 + 1))[:size]
    return producer, seq, zlib.crc32(payload, producer ^ seq), payload


def read(message: object) -> tuple[int, int, int]:
    """(producer, seq, 0), or a fault of 1 where it is not what was made."""
    try:
        producer, seq, crc, payload = message  # type: ignore[misc]
        return producer, seq, int(zlib.crc32(payload, producer ^ seq) != crc)
    except Exception:
        return 0, 0, 1


@dataclass
class Channel:
    """All that is known of what went through one queue or pipe."""

    name: str
    numbered: bool  # its consumers know the number of each message
    leased: bool = False  # what a dead consumer had comes again
    done: dict[int, int] = field(default_factory=dict)  # producer: how many of its puts returned
    tried: dict[int, int] = field(default_factory=dict)
    seen: dict[int, bytearray] = field(default_factory=dict)
    order: array[int] = field(default_factory=lambda: array("Q"))  # by number: what it was; 0: not seen
    claimed: set[int] = field(default_factory=set)  # numbers that consumers died with
    in_hand: int = 0  # consumers that died between the beginning of a get and the entry of what it got
    again: int = 0  # delivered a second time after such a death
    got: int = 0
    duplicated: int = 0
    corrupt: int = 0
    reordered: int = 0
    lost: int = 0
    taken: int = 0  # by the dead
    cut: int = 0  # puts whose producer died in them

    def producer_ended(self, producer: int, tried: int, done: int) -> None:
        """A producer is gone."""
        self.tried[producer], self.done[producer] = tried, done
        self.cut += tried - done

    def consumer_ended(self, entries: list[tuple[int, int, int, int]], busy: int, claim: int) -> None:
        """A consumer is gone. `busy`: in the middle of a get."""
        last: dict[int, int] = {}
        for number, producer, seq, fault in entries:
            self.got += 1
            self.corrupt += fault
            if fault:
                continue
            seen = self.seen.setdefault(producer, bytearray())
            if seq >= len(seen):
                seen.extend(bytes(seq + 256 - len(seen)))
            if self.leased:
                self.again += seen[seq]
            else:
                self.duplicated += seen[seq]
            seen[seq] = 1
            if self.numbered:
                if number >= len(self.order):
                    self.order.frombytes(bytes(8 * (number + 4096 - len(self.order))))
                self.order[number] = producer << 32 | seq
            elif not self.leased:
                self.reordered += seq < last.get(producer, 0)
                last[producer] = seq
        if busy and self.numbered:
            first, count = claim & 0xFFFFFFFF, claim >> 32
            self.claimed.update(range(first, first + count))
        self.in_hand += bool(busy)

    def judge(self) -> None:
        """All are gone, and the channel is drained."""
        missing = 0
        for producer, done in self.done.items():
            seen = self.seen.get(producer, bytearray())
            missing += done - sum(seen[:done])
            made = self.tried[producer]
            self.corrupt += sum(seen[made:])  # what nobody put
        self.corrupt += sum(sum(seen) for producer, seen in self.seen.items() if producer not in self.done)
        if self.numbered:
            last: dict[int, int] = {}
            for what in filter(None, self.order):
                producer, seq = what >> 32, what & 0xFFFFFFFF
                self.reordered += seq < last.get(producer, 0)
                last[producer] = seq
            may = sum(n >= len(self.order) or self.order[n] == 0 for n in self.claimed)
        else:
            may = 0 if self.leased else self.in_hand
        self.duplicated += max(0, self.again - self.in_hand)
        self.taken = min(missing, may)
        self.lost = missing - self.taken


def files() -> set[str]:
    """What lies where something could be left."""
    places = ("/dev/shm", os.environ.get("TMPDIR", "/tmp"))
    return {f"{place}/{name}" for place in places for name in os.listdir(place)}
