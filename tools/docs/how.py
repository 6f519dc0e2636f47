"""How it works, in seven pictures, from the futex to the executor."""

from __future__ import annotations

from collections.abc import Callable

from svg import BLUE, EDGE, GREEN, GREY, ORANGE, PALE, RED, Picture

WIDTH = 720
NARROW = 480  # readable at the width of a telephone


def layers() -> Picture:
    p = Picture(WIDTH, 330, "The layers: calls go down only")
    rows = (
        ("Python: threading, queue, multiprocessing, futures, shared", "python/manyhands", GREEN),
        ("the extension: types, errors, one function that waits", "ext", GREEN),
        ("pool: workers, tasks, jobs", "core/pool", BLUE),
        ("proc: threads, processes, pause, death watch", "core/proc", BLUE),
        ("shm: segments, blocks, message channels, pipes", "core/shm", BLUE),
        ("sync: locks, conditions, semaphores, events, barriers", "core/sync", BLUE),
        ("os: futex, clock, memory, signals: the only system calls", "core/os", ORANGE),
    )
    for i, (words, place, fill) in enumerate(rows):
        p.box(16, 16 + i * 43, 500, 35, words, fill)
        p.text(532, 38 + i * 43, place, 13, PALE)
    p.arrow(690, 30, 690, 300)
    return p


def futex() -> Picture:
    p = Picture(
        WIDTH,
        270,
        "A lock is a word: free, held, held with sleepers; the kernel is asked only to sleep and to wake",
    )
    p.text(16, 26, "The word of a lock, in memory that both can see", bold=True)
    for i, (words, fill) in enumerate(
        (("0\nfree", GREEN), ("owner\nheld", BLUE), ("owner + sleepers\nheld, some sleep", ORANGE))
    ):
        p.box(16 + i * 250, 48, 180, 64, words, fill)
    p.arrow(196, 70, 264, 70)
    p.text(230, 62, "acquire", 12, PALE, "middle")
    p.line([(264, 98), (198, 98)], arrow=True)
    p.text(230, 116, "release", 12, PALE, "middle")
    p.arrow(446, 80, 514, 80)
    p.text(480, 72, "wanted", 12, PALE, "middle")
    p.box(266, 170, 438, 44, "the kernel: sleep while the word says so; wake one", GREY)
    p.arrow(600, 112, 600, 168, "futex")
    p.text(
        16,
        246,
        "Nobody else wants it: one instruction each, and no system call.",
        13,
        PALE,
    )
    return p


def death() -> Picture:
    p = Picture(NARROW, 252, "The owner is killed, and the next one is told")
    p.timeline(
        16,
        20,
        NARROW - 40,
        [
            ("process 1", [(0, 0.2, "holds", BLUE), (0.2, 0.34, "killed", RED)]),
            (
                "process 2",
                [
                    (0.06, 0.38, "acquire() waits", GREY),
                    (0.38, 0.7, "OwnerDiedError", RED),
                    (0.7, 0.98, "recover()", ORANGE),
                ],
            ),
            ("process 3", [(0.45, 0.98, "acquire() waits: next", GREY)]),
        ],
        label=78,
    )
    p.text(
        16,
        202,
        "A waiter looks at the owner again after 50 ms at first, after 1 s\n"
        "at most. No wake-up is trusted: the one who should have sent\nit may be dead.",
        13,
        PALE,
    )
    return p


def channel() -> Picture:
    p = Picture(WIDTH, 260, "A message is written beside the ring's tail, and one store makes it exist")
    p.text(16, 26, "A ring of bytes in shared memory", bold=True)
    cells = (
        ("free", GREY),
        ("free", GREY),
        ("message 7", BLUE),
        ("message 8", BLUE),
        ("message 9", BLUE),
        ("being written", ORANGE),
        ("free", GREY),
    )
    for i, (words, fill) in enumerate(cells):
        p.box(16 + i * 99, 70, 95, 50, words, fill, 13)
    p.arrow(214, 160, 214, 124)
    p.text(214, 178, "head: the next to take", 13, anchor="middle")
    p.arrow(511, 160, 511, 124)
    p.text(511, 178, "tail: moved last, in one store", 13, anchor="middle")
    p.text(
        16,
        216,
        "Killed before the store: the message never was. Killed after it: it is there, whole.",
        13,
        PALE,
    )
    p.text(16, 236, "There is no moment in between.", 13, PALE)
    return p


def block() -> Picture:
    p = Picture(WIDTH, 264, "A large array lies in a block; only its number travels")
    p.box(16, 30, 150, 60, "process 1\narray", BLUE)
    p.box(554, 30, 150, 60, "process 2\nthe same array", BLUE)
    p.box(240, 38, 240, 44, "queue: block 12, from 0, 80 MB", ORANGE, 13)
    p.arrow(166, 60, 238, 60)
    p.arrow(480, 60, 552, 60)
    p.box(16, 150, 688, 56, "the arena of the program: block 12, 80 MB, held by 1 and 2", GREEN)
    p.arrow(90, 90, 90, 148)
    p.arrow(630, 90, 630, 148)
    p.text(
        16,
        234,
        "Who holds a block is a bit for each process. The receiver's bit is set before the message",
        13,
        PALE,
    )
    p.text(
        16,
        253,
        "exists, and the bits of the dead are cleared: nothing leaks, nothing is freed too early.",
        13,
        PALE,
    )
    return p


def crew() -> Picture:
    p = Picture(WIDTH, 300, "A pool: tasks go out, results come back, claims say who had what")
    p.box(16, 110, 130, 56, "your program", BLUE)
    p.box(200, 40, 190, 44, "tasks", ORANGE)
    p.box(200, 190, 190, 44, "results", ORANGE)
    for i, (words, fill) in enumerate(
        (("worker 1\nclaims task 7", GREEN), ("worker 2\nclaims task 8", RED), ("worker 3\nidle", GREEN))
    ):
        p.box(520, 24 + i * 84, 184, 58, words, fill)
    p.arrow(146, 126, 198, 76)
    p.arrow(198, 206, 146, 152)
    p.arrow(390, 62, 518, 62)
    p.arrow(518, 212, 392, 212)
    p.text(508, 142, "worker 2 is killed:", 13, EDGE[RED], "end", bold=True)
    p.text(
        16,
        270,
        "A claim is written before the task is taken. A dead worker's claim names the one task that is lost;",
        13,
        PALE,
    )
    p.text(16, 289, "that one fails or is run again, and a new worker takes the place.", 13, PALE)
    return p


def executor() -> Picture:
    p = Picture(WIDTH, 250, "One interface over three engines")
    p.box(200, 16, 320, 44, "Executor: submit, map, run, options", GREEN)
    engines = (
        ("threads", "share objects\none GIL", BLUE),
        ("interpreters", "one process\na GIL each", BLUE),
        ("processes", "own memory\na crash costs one task", BLUE),
    )
    for i, (name, words, fill) in enumerate(engines):
        x = 16 + i * 236
        p.arrow(360, 60, x + 108, 108)
        p.box(x, 110, 216, 80, f"{name}\n{words}", fill)
    p.text(
        16, 224, "The same Future, the same time limits, retries, cancelling and progress on each.", 13, PALE
    )
    return p


ALL: dict[str, Callable[[], Picture]] = {
    "how-1-layers": layers,
    "how-2-lock": futex,
    "how-3-death": death,
    "how-4-channel": channel,
    "how-5-block": block,
    "how-6-pool": crew,
    "how-7-executor": executor,
}
