"""Stress bodies for locks, conditions, semaphores, events and barriers.

A body is `body(subject, crew, rounds)`: the subject has the classes under test, the crew the threads. It returns where
all was right, raises Fault where it was not, and never returns where a
wake-up was lost: the crew's watcher sees to that.
"""

from __future__ import annotations

import random
import threading as std
import time
from typing import Any

from stress_crew import Crew, expect


def breathe(number: int) -> None:
    """Now and then let go of the GIL inside a critical section, so that others run while it is held."""
    if number % 5 == 0:
        time.sleep(0)


def get(acquire: Any, number: int) -> None:
    """Acquire in one of the ways that there are; by the clock only after a time that no test needs."""
    way = number % 4
    if way == 0:
        while not acquire(False):
            time.sleep(0)
    elif way == 1:
        expect(acquire(True, 1000), "a lock gave up after less than its time")
    elif way == 2:
        while not acquire(True, 0.0003):
            pass
    else:
        expect(acquire(), "acquire() without a limit came back without the lock")


def exclusion(acquire: Any, release: Any, crew: Crew, rounds: int) -> None:
    """One at a time: nobody else is inside, and no count is lost."""
    inside: list[int] = []
    total = [0]

    def work(me: int) -> None:
        for i in range(rounds):
            get(acquire, i + me)
            before = total[0]
            inside.append(me)
            breathe(i)
            expect(inside == [me], f"threads {inside} are inside at once")
            inside.pop()
            total[0] = before + 1
            release()
            crew.step(me)

    crew.run(work)
    expect(total[0] == crew.count * rounds, f"{total[0]} turns counted of {crew.count * rounds}")


def lock(subject: Any, crew: Crew, rounds: int) -> None:
    guard = subject.Lock()
    exclusion(guard.acquire, guard.release, crew, rounds)
    expect(not guard.locked(), "the lock is held after the last release")


def rlock(subject: Any, crew: Crew, rounds: int) -> None:
    """Acquired twice by its owner: it is free only after as many releases."""
    guard = subject.RLock()

    def acquire(*how: Any) -> bool:
        if not guard.acquire(*how):
            return False
        expect(guard.acquire(), "its owner cannot acquire it again")
        return True

    def release() -> None:
        guard.release()
        time.sleep(0)
        guard.release()

    exclusion(acquire, release, crew, rounds)


def condition_lock(subject: Any, crew: Crew, rounds: int) -> None:
    condition = subject.Condition()
    exclusion(condition.acquire, condition.release, crew, rounds)


def condition_turns(subject: Any, crew: Crew, rounds: int) -> None:
    """A token goes round: each wakes only the next, by a notify(1) on a condition of its own under one lock."""
    guard = subject.Lock()
    mine = [subject.Condition(guard) for _ in range(crew.count)]
    turn = [0]

    def work(me: int) -> None:
        for _ in range(rounds):
            with mine[me]:
                while turn[0] != me:
                    mine[me].wait()
                turn[0] = (me + 1) % crew.count
                mine[turn[0]].notify()
            crew.step(me)

    crew.run(work)


def condition_tokens(subject: Any, crew: Crew, rounds: int) -> None:
    """As many notifies as tokens, and waiters with and without a time limit: a token is never left while one sleeps."""
    condition, tokens, taken = subject.Condition(), [0], [0]

    def give(me: int) -> None:
        for i in range(rounds):
            with condition:
                tokens[0] += 1
                condition.notify()
            breathe(i)
            crew.step(me)

    def take(me: int) -> None:
        for i in range(rounds):
            with condition:
                if (i + me) % 3:
                    expect(condition.wait_for(lambda: tokens[0]), "wait_for() came back without a token")
                while not tokens[0]:
                    condition.wait(0.0005)
                tokens[0] -= 1
                taken[0] += 1
            crew.step(me)

    crew.run(give, take)
    expect((tokens[0], taken[0]) == (0, crew.count // 2 * rounds), f"{tokens[0]} tokens left")


def condition_order(subject: Any, crew: Crew, rounds: int) -> None:
    """notify(n) wakes n, those who came first. Thread 0 notifies, the others wait, one after another."""
    condition, arrived, woken = subject.Condition(), [], list[int]()
    done = [False]

    def wait(me: int) -> None:
        for _ in range(rounds):
            with condition:
                arrived.append(me)
                condition.wait()
                expect(me in allowed, "a thread woke that was not notified")
                woken.append(me)
            crew.step(me)

    allowed: set[int] = set()

    def notify(me: int) -> None:
        others, served = crew.count - 1, 0
        while served < others * rounds:
            with condition:
                most = min(1 + served % 3, len(arrived))
                first = arrived[:most]
                del arrived[:most]
                allowed.clear()
                allowed.update(first)
                woken.clear()
                condition.notify(most)
            while True:
                with condition:
                    if len(woken) >= most:
                        break
                time.sleep(0)
            expect(
                sorted(woken) == sorted(first),
                f"notify({most}) woke {woken}, not those who came first, {first}",
            )
            served += most
            crew.step(me)
        done[0] = True

    crew.run(lambda me: wait(me) if me else notify(me))
    expect(done[0], "the notifier did not come to its end")


def semaphore(subject: Any, crew: Crew, rounds: int) -> None:
    """Never more inside than permits, and all permits are there at the end."""
    permits = max(1, crew.count // 2)
    for kind in (subject.Semaphore, subject.BoundedSemaphore):
        one = kind(permits)
        inside: list[int] = []

        def work(me: int, one: Any = one, inside: list[int] = inside) -> None:
            for i in range(rounds):
                get(one.acquire, i + me)
                inside.append(me)
                breathe(i)
                expect(len(inside) <= permits, f"{len(inside)} inside, {permits} permits")
                inside.remove(me)
                one.release()
                crew.step(me)

        crew.run(work)
        expect(one._value == permits, f"{one._value} permits at the end, {permits} at first")


def event(subject: Any, crew: Crew, rounds: int) -> None:
    """Thread 0 sets the event while the others are on their way to sleep; each must come through each time."""
    events = [subject.Event() for _ in range(rounds)]
    ready, passed = [[0] * crew.count for _ in range(2)]

    def wait(me: int) -> None:
        for i, one in enumerate(events):
            ready[me] = i + 1
            expect(one.wait() is True, "wait() without a limit came back without the event")
            expect(one.is_set(), "the event is not set after a wait for it")
            passed[me] = i + 1
            crew.step(me)

    def set_(me: int) -> None:
        dice = random.Random(crew.count)
        for i, one in enumerate(events):
            wanted = dice.randrange(crew.count)  # how many are ready, or asleep already, as it is set
            while sum(value > i for value in ready[1:]) < wanted:
                time.sleep(0)
            if i % 10 == 5:
                time.sleep(0.003)  # by now all of them sleep
            expect(max(passed) <= i, "a thread passed an event that nobody had set")
            one.set()
            crew.step(me)

    crew.run(lambda me: wait(me) if me else set_(me))


def barrier(subject: Any, crew: Crew, rounds: int) -> None:
    """Nobody passes before all have come, and each of a meeting has another index."""
    meeting = subject.Barrier(crew.count)
    came = [0] * crew.count
    indices = [set[int]() for _ in range(rounds)]

    def work(me: int) -> None:
        for i in range(rounds):
            came[me] = i + 1
            index = meeting.wait()
            expect(min(came) > i, f"thread {me} passed meeting {i} before all had come: {came}")
            expect(index not in indices[i], f"index {index} twice in meeting {i}")
            indices[i].add(index)
            crew.step(me)

    crew.run(work)
    expect(
        all(one == set(range(crew.count)) for one in indices), "the indices of a meeting are not 0 to n - 1"
    )


def rwlock(subject: Any, crew: Crew, rounds: int) -> None:
    """A writer is alone; readers see only what a writer has finished."""
    guard = subject.RWLock()
    readers: list[int] = []
    writers: list[int] = []
    pair, most = [0, 0], [0]

    def work(me: int) -> None:
        for i in range(rounds):
            if (i + me) % 4:
                get(guard.acquire_read, i)
                readers.append(me)
                most[0] = max(most[0], len(readers))
                first = pair[0]
                breathe(i)
                expect(not writers, f"thread {me} reads while {writers} write")
                expect(first == pair[1], "a reader sees half of a change")
                readers.remove(me)
                guard.release_read()
            else:
                get(guard.acquire_write, i)
                writers.append(me)
                pair[0] += 1
                breathe(i + me)
                expect((writers, readers) == ([me], []), f"{writers} write while {readers} read")
                pair[1] += 1
                writers.remove(me)
                guard.release_write()
            crew.step(me)

    crew.run(work)
    expect(
        pair == [sum((i + me) % 4 == 0 for me in range(crew.count) for i in range(rounds))] * 2,
        "a change is lost",
    )


def fairness(subject: Any, crew: Crew, rounds: int) -> None:
    """While all contend for a lock, nobody is passed over for ever: counted in the turns of others, not in seconds."""
    guard, turns, most = subject.Lock(), [0] * crew.count, crew.count * rounds * 200

    def work(me: int) -> None:
        while min(turns) < rounds:
            with guard:
                turns[me] += 1
                time.sleep(0)
            expect(sum(turns) < most, f"starved: {min(turns)} turns for one, {max(turns)} for another")
            crew.step(me)

    crew.run(work)


def rwlock_fairness(subject: Any, crew: Crew, rounds: int) -> None:
    """Readers that overlap without end do not keep a writer out: who came after it waits for it.

    The last reader stays for 20 ms, or until there is another; a fair lock lets none in while a writer waits.
    """
    guard, reads, inside, done = subject.RWLock(), [0], [0], [False]
    count = std.Lock()
    most = 50 * crew.count

    def read(me: int) -> None:
        while not done[0]:
            with guard.read:
                with count:
                    reads[0] += 1
                    inside[0] += 1
                for left in range(200, -1, -1):
                    with count:
                        if inside[0] > 1 or left == 0 or done[0]:
                            inside[0] -= 1
                            break
                    time.sleep(0.0001)
            crew.step(me)

    def write(me: int) -> None:
        for _ in range(3):
            while inside[0] < min(2, crew.count - 1):
                time.sleep(0)
            before = reads[0]
            while not guard.acquire_write(timeout=0.2):
                expect(reads[0] - before < most, f"starved: {reads[0] - before} readers overtook a writer")
            guard.release_write()
            crew.step(me)
        done[0] = True

    crew.run(lambda me: read(me) if me else write(me))
