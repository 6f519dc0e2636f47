"""What the soak's processes do until they are killed; and what they use, sound or broken on purpose."""

from __future__ import annotations

import os
import queue as std_queue
import random
import signal
import threading
import time
from typing import Any

import soak_book as book
from manyhands import OwnerDiedError
from manyhands._impl import core

PLACES = 16  # of the locks' words
SMALL, MIXED, LARGE = (0, 8, 100), (0, 100, 5_000, 30_000), (40_000, 200_000, 700_000)
CHANNELS = {  # name: sizes of its messages
    "queue": SMALL,
    "batch": SMALL,
    "bounded": MIXED,
    "large": LARGE,
    "simple": MIXED,
    "pipe": MIXED + LARGE,
    "leased": MIXED,
}
NUMBERED = ("queue", "batch", "bounded")  # a queue whose gets are claimed keeps its blocks in another way
LOCKS = ("Lock", "RLock", "RWLock", "Seat", "Condition", "Event", "Barrier", "Semaphore")


class Things:
    """Everything that is shared. `broken` names the fault that one of them has."""

    def __init__(self, context: Any, broken: str = "") -> None:
        self.broken = broken
        self.queue, self.batch = context.Queue(), context.Queue()
        self.bounded, self.large = context.Queue(20), context.Queue(30)
        self.simple, self.leased = context.SimpleQueue(), context.JoinableQueue(50, redeliver=True)
        self.pipe_out, self.pipe_in = context.Pipe(False)
        self.Lock, self.RLock, self.RWLock = context.Lock(), context.RLock(), context.RWLock()
        self.Seat = context.Semaphore(1, robust=True)
        self.Condition, self.Event = context.Condition(context.Lock()), context.Event()
        self.Barrier, self.Semaphore = context.Barrier(2), context.Semaphore(2, robust=True)


class Producer:
    """Puts messages into one channel."""

    def __init__(self, things: Things, page: book.Page, name: str, number: int, rng: random.Random) -> None:
        self.things, self.page, self.name, self.number, self.rng = things, page, name, number, rng
        self.held: Any = None
        self.channel = things.pipe_in if name == "pipe" else getattr(things, name)
        self.send = self.channel.send if name == "pipe" else self.channel.put

    def put(self, message: Any) -> None:
        """Put it; or do to it what the broken twin does."""
        broken, seq = self.things.broken, message[1]
        if broken == "drop" and seq % 200 == 17:
            return
        if broken == "corrupt" and seq % 200 == 17:
            message = (*message[:2], message[2] ^ 1, message[3])
        if broken == "reorder" and seq % 200 == 17:
            self.held = message
            return
        self.send(message)
        if broken == "duplicate" and seq % 200 == 17:
            self.send(message)
        if self.held is not None:
            held, self.held = self.held, None
            self.send(held)

    def step(self, seq: int) -> int:
        """One message, or a batch; the next number."""
        sizes = CHANNELS[self.name]
        count = self.rng.randint(1, 6) if self.name == "batch" else 1
        messages = [book.make(self.number, seq + i, self.rng.choice(sizes)) for i in range(count)]
        self.page[book.TRIED] = seq + count
        if self.name == "batch" and not self.things.broken:
            if self.channel.put_many(messages) != count:
                raise RuntimeError("put_many() did not put all")
        else:
            for message in messages:
                self.put(message)
        # what the broken twin holds back is not done: it would be counted as lost, and not as out of order
        self.page[book.DONE] = seq + count if self.held is None else self.held[1]
        self.page.add(book.STEPS)
        return seq + count

    def run(self) -> None:
        seq = 0
        while seq < 2_000_000:
            self.hold_back()
            seq = self.step(seq)

    def hold_back(self) -> None:
        """Some have no limit of their own; and there are more processes than processors."""
        backlog = self.channel.qsize() if hasattr(self.channel, "qsize") else 0
        if backlog > 3000:
            time.sleep(0.01)
        elif self.rng.random() < 0.6:
            time.sleep(0.002)


class Consumer:
    """Takes messages from one channel and writes down what they were."""

    def __init__(
        self, things: Things, page: book.Page, name: str, words: memoryview, rng: random.Random
    ) -> None:
        self.page, self.name, self.rng = page, name, rng
        self.channel = things.pipe_out if name == "pipe" else getattr(things, name)
        if name in NUMBERED:
            self.channel._claim(words, page.start + book.CLAIM)

    def get(self) -> list[Any]:
        """One message or several; [] where there was none."""
        wait = self.rng.choice((0, 0.05, 5))
        try:
            if self.name == "batch" and self.rng.random() < 0.8:
                return list(self.channel.get_many(self.rng.randint(1, 30), timeout=wait))
            if self.name == "pipe":
                return [self.channel.recv()] if self.channel.poll(wait) else []
            if self.name == "simple":
                return [self.channel.get()]
            return [self.channel.get(timeout=wait)]
        except std_queue.Empty:
            return []

    def step(self) -> bool:
        """False where the page is full."""
        self.page[book.CLAIM] = 0
        self.page[book.BUSY] = 1
        room = True
        got = self.get()
        claim = self.page[book.CLAIM]
        number = claim & 0xFFFFFFFF
        for i, message in enumerate(got):
            room = self.page.log(number + i, *book.read(message))
        if self.name == "leased" and got:
            self.channel.task_done()
        self.page[book.BUSY] = 0
        self.page.add(book.STEPS)
        return room and self.page[book.COUNT] < book.ENTRIES - 64

    def run(self) -> None:
        while self.step():
            pass


class Owner:
    """Takes locks and everything like them, one at random at a time."""

    def __init__(self, things: Things, page: book.Page, notes: book.Book, rng: random.Random) -> None:
        self.things, self.page, self.rng = things, page, rng
        self.words = [notes.protected(i) for i in range(PLACES)]

    def inside(self, which: int, mended: bool) -> None:
        """Alone here: two words that are alike whenever nobody died between them."""
        words = self.words[which]
        self.page[book.BUSY] = 1
        if words[0] != words[1] and not mended:
            words[2] += 1
        words[0] = value = (words[0] + 1) & 0xFFFFFFFF
        if self.rng.random() < 0.1:
            time.sleep(0.0005)
        if words[0] != value:
            words[2] += 1
        words[1] = value
        words[3] += mended
        self.page[book.BUSY] = 0

    def take(self, acquire: Any, recover: Any) -> bool | None:
        """True: taken from the dead; False: taken; None: not taken."""
        try:
            return False if acquire(timeout=self.rng.choice((0.001, 5))) else None
        except OwnerDiedError:
            # One of those who are told mends it; the others find it whole.
            return True if recover(timeout=5) else None

    def Lock(self, which: int) -> None:
        lock = self.things.Condition if which == 4 else getattr(self.things, LOCKS[which])
        lock = lock._lock if which == 4 else lock
        taken = self.take(lock.acquire, lock.recover)
        if taken is not None:
            self.inside(which, taken and self.things.broken != "silent")
            lock.release()

    RLock = Lock

    def RWLock(self, which: int) -> None:
        lock = self.things.RWLock
        if self.rng.random() < 0.5:
            try:
                if lock.acquire_read(timeout=5):
                    words = self.words[which]
                    words[2] += words[0] != words[1]
                    lock.release_read()
            except OwnerDiedError:
                pass
            return
        taken = self.take(lock.acquire_write, lock.recover)
        if taken is not None:
            self.inside(which, taken)
            lock.release_write()

    def Seat(self, which: int) -> None:
        """Alone here, but nobody is told of a death: only that there never are two."""
        if self.things.Seat.acquire(timeout=1):
            words, mine = self.words[which], os.getpid()
            if words[0] != 0 and alive(words[0]):
                words[2] += 1
            words[0] = mine
            self.page[book.BUSY] = 1
            if self.rng.random() < 0.1:
                time.sleep(0.0005)
            words[2] += words[0] != mine
            words[0] = 0
            self.page[book.BUSY] = 0
            self.things.Seat.release()

    def Semaphore(self, _which: int) -> None:
        if self.things.Semaphore.acquire(timeout=1):
            if self.rng.random() < 0.1:
                time.sleep(0.0005)
            self.things.Semaphore.release()

    def Condition(self, which: int) -> None:
        condition = self.things.Condition
        try:
            with condition:
                if self.rng.random() < 0.5:
                    condition.notify(self.rng.randint(1, 3))
                else:
                    condition.wait(0.02)
        except OwnerDiedError:
            self.Lock(which)

    def Event(self, _which: int) -> None:
        event = self.things.Event
        self.rng.choice((event.set, event.clear, event.is_set, lambda: event.wait(0.01)))()

    def Barrier(self, _which: int) -> None:
        try:
            self.things.Barrier.wait(0.02)
        except threading.BrokenBarrierError:
            self.things.Barrier.reset()

    def run(self) -> None:
        while True:
            which = self.rng.randrange(len(LOCKS))
            getattr(self, LOCKS[which])(which)
            if self.rng.random() < 0.05:
                time.sleep(0.002)
            self.page.add(book.COUNTS + which)
            self.page.add(book.STEPS)


def state_of(pid: int) -> str:
    """R running, S waiting, T stopped, Z and X dead."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0]
    except OSError:
        return "X"


def alive(pid: int) -> bool:
    """Is there such a process, and no zombie?"""
    return state_of(pid) not in "ZX"


class Pauser:
    """Pauses others for a moment. What it leaves paused when it is killed the soak lets go on."""

    def __init__(self, page: book.Page, notes: book.Book, rng: random.Random) -> None:
        self.page, self.notes, self.rng = page, notes, rng

    def run(self) -> None:
        while True:
            time.sleep(self.rng.uniform(0, 0.05))
            number = self.rng.randrange(book.PAGES)
            victim = self.notes.page(number)[book.VICTIM]
            if victim >> 32 == 0 or victim & 0xFFFFFFFF == 0xFFFFFFFF:
                continue  # nobody is there, or another pauser
            try:
                control = core.ProcessControl(victim >> 32, victim & 0xFFFFFFFF)
                if control.pause(0.5):
                    time.sleep(self.rng.uniform(0, 0.05))
                control.resume()
                self.page.add(book.STEPS)
            except (OSError, ValueError):
                pass  # it was killed meanwhile


def work(role: str, name: str, things: Things, path: str, number: int, producer: int, seed: int) -> None:
    """The body of every process of the soak."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    notes, rng = book.Book(path), random.Random(seed)
    page = notes.page(number)
    if role == "producer":
        Producer(things, page, name, producer, rng).run()
    elif role == "consumer":
        Consumer(things, page, name, notes.words, rng).run()
    elif role == "owner":
        Owner(things, page, notes, rng).run()
    else:
        Pauser(page, notes, rng).run()
