"""Stress bodies for queues and threads: nothing lost, doubled, out of order; join() neither early nor never."""

from __future__ import annotations

import threading as std
import time
from collections import Counter
from typing import Any

from stress_crew import Crew, expect
from stress_locks import breathe

END = (1 << 60, 0)  # sorts behind every item


def put_in_some_way(queue: Any, item: Any, number: int, full: type[Exception]) -> None:
    way = number % 3
    if way == 0:
        queue.put(item)
    elif way == 1:
        queue.put(item, timeout=1000)
    else:
        while True:
            try:
                queue.put(item, False)
                return
            except full:
                time.sleep(0)


def get_in_some_way(queue: Any, number: int, empty: type[Exception]) -> Any:
    if number % 3 == 0:
        return queue.get()
    while True:
        try:
            return queue.get(timeout=0.0005) if number % 3 == 1 else queue.get(True, 1000)
        except empty:
            pass


def check_items(received: list[list[Any]], producers: int, rounds: int, ordered: bool) -> None:
    """Each item of each producer came once, and, of an ordered queue, in the order in which it was put."""
    counts = Counter(item for one in received for item in one)
    doubled = [item for item, count in counts.items() if count > 1]
    lost = [(i, p) for p in range(producers) for i in range(rounds) if (i, p) not in counts]
    expect(not doubled, f"doubled: {doubled[:5]}, {len(doubled)} in all")
    expect(not lost, f"lost: {lost[:5]}, {len(lost)} in all")
    expect(len(counts) == producers * rounds, "items came that nobody had put")
    for one in received if ordered else []:
        for p in range(producers):
            numbers = [i for i, producer in one if producer == p]
            expect(numbers == sorted(numbers), f"out of order: producer {p}: {numbers[:20]}")


def passing(subject: Any, crew: Crew, rounds: int, queue: Any, ordered: bool) -> None:
    """Even threads put, odd ones get. The producers' last one tells each consumer that it was all."""
    producers, consumers = (crew.count + 1) // 2, crew.count // 2
    received: list[list[Any]] = [[] for _ in range(consumers)]
    guard, left = std.Lock(), [producers]

    def produce(me: int) -> None:
        for i in range(rounds):
            put_in_some_way(queue, (i, me // 2), i + me, subject.Full)
            breathe(i)
            crew.step(me)
        with guard:
            left[0] -= 1
            last = left[0] == 0
        for _ in range(consumers if last else 0):
            queue.put(END)

    def consume(me: int) -> None:
        for i in range(producers * rounds * 2 + 1):
            item = get_in_some_way(queue, i + me, subject.Empty)
            if item == END:
                return
            received[me // 2].append(item)
            crew.step(me)

    crew.run(produce, consume)
    behind = [queue.get() for _ in range(queue.qsize())]  # an END on top of a LifoQueue overtakes them
    check_items([*received, [i for i in behind if i != END]], producers, rounds, ordered)


def queue(subject: Any, crew: Crew, rounds: int) -> None:
    passing(subject, crew, rounds, subject.Queue(), ordered=True)


def queue_bounded(subject: Any, crew: Crew, rounds: int) -> None:
    """One place only: producers and consumers wake each other at every item."""
    passing(subject, crew, rounds, subject.Queue(1), ordered=True)


def queue_simple(subject: Any, crew: Crew, rounds: int) -> None:
    passing(subject, crew, rounds, subject.SimpleQueue(), ordered=True)


def queue_priority(subject: Any, crew: Crew, rounds: int) -> None:
    passing(subject, crew, rounds, subject.PriorityQueue(3), ordered=False)
    sorted_out(subject.PriorityQueue(), crew, rounds, sorted)


def queue_lifo(subject: Any, crew: Crew, rounds: int) -> None:
    """The last producer's END overtakes, and what lies below it is looked at afterwards."""
    passing(subject, crew, rounds, subject.LifoQueue(), ordered=False)
    sorted_out(subject.LifoQueue(), crew, rounds, None)


def sorted_out(queue: Any, crew: Crew, rounds: int, order: Any) -> None:
    """All put at once; then one takes all out: by priority, or the last of each thread first."""

    def work(me: int) -> None:
        for i in range(rounds):
            queue.put((i, me))
            breathe(i)
            crew.step(me)

    crew.run(work)
    items = [queue.get() for _ in range(queue.qsize())]
    expect(len(items) == crew.count * rounds, f"{len(items)} items of {crew.count * rounds}")
    if order is not None:
        expect(items == order(items), "out of order: not by priority")
    for me in range(crew.count):
        numbers = [i for i, who in items if who == me]
        wanted = list(range(rounds))
        expect(numbers == (wanted if order else wanted[::-1]), f"out of order: {numbers[:20]}")


def queue_join(subject: Any, crew: Crew, rounds: int) -> None:
    """join() returns once every item is done, and not before."""
    queue, done = subject.Queue(), [0] * crew.count
    rounds = max(2, rounds // 5)
    wanted = [0]

    def work(me: int) -> None:
        for _ in range(rounds * 3):
            item = queue.get()
            time.sleep(0.0005 if item % 3 == 0 else 0)
            done[me] += 1
            queue.task_done()
            crew.step(me)

    def feed(me: int) -> None:
        for i in range(rounds):
            for _ in range(3 * (crew.count - 1)):
                queue.put(i)
            wanted[0] += 3 * (crew.count - 1)
            queue.join()
            expect(sum(done) == wanted[0], f"join() returned with {wanted[0] - sum(done)} tasks undone")
            crew.step(me)

    crew.run(lambda me: work(me) if me else feed(me))


def thread_join(subject: Any, crew: Crew, rounds: int) -> None:
    """Threads start and end all the time; join() from several threads returns once it has ended, and not before."""
    rounds = max(2, rounds // 10)

    def work(me: int) -> None:
        for i in range(rounds):
            ended = []

            def life(i: int = i, ended: list[bool] = ended) -> None:
                time.sleep(0)
                breathe(i)
                time.sleep(0.0002)
                ended.append(True)

            thread = subject.Thread(target=life, daemon=True)
            thread.start()
            other = subject.Thread(target=thread.join, daemon=True)
            other.start()
            thread.join()
            expect(ended and not thread.is_alive(), "join() returned before the thread had ended")
            other.join(1000)
            expect(not other.is_alive(), "a second join() returned before the thread had ended")
            crew.step(me)

    crew.run(work)
