"""A window that stays responsive while it computes: the work is done by processes, the window only looks at it.

    python window.py [--demo SECONDS]

Counts primes, shows how far it is, and can be paused and stopped. A clock ticks twenty times a second; the program says
in the end what the longest gap between two ticks was. With --demo it starts the work by itself and then closes.
"""

import argparse
import time
import tkinter
from tkinter import ttk

import manyhands
from manyhands import multiprocessing

STEP, STEPS = 20_000, 60
TICK = 0.05


def count_primes(first, last):
    return sum(n > 1 and all(n % d for d in range(2, int(n**0.5) + 1)) for n in range(first, last))


class Window:
    """All of it runs in the main thread; what takes long is handed to the executor."""

    def __init__(self, root, executor):
        self.root, self.executor = root, executor
        self.futures, self.paused = [], False
        self.last_tick, self.longest_gap = time.monotonic(), 0.0
        root.title("Primes")
        self.clock = ttk.Label(root, font=("TkFixedFont", 22))
        self.said = ttk.Label(root, text=f"The primes below {STEP * STEPS:,}")
        self.bar = ttk.Progressbar(root, maximum=STEPS, length=360)
        self.clock.grid(row=0, columnspan=3, pady=(16, 4))
        self.said.grid(row=1, columnspan=3)
        self.bar.grid(row=2, columnspan=3, padx=20, pady=12)
        for column, (words, command) in enumerate(
            (("Start", self.start), ("Pause", self.pause), ("Stop", self.stop))
        ):
            ttk.Button(root, text=words, command=command).grid(row=3, column=column, pady=(0, 16))
        self.tick()

    def start(self):
        if not self.futures:
            bounds = range(0, STEP * STEPS, STEP)
            self.futures = [self.executor.submit(count_primes, at, at + STEP) for at in bounds]

    def pause(self):
        """What runs is finished; nothing more is begun."""
        self.paused = not self.paused
        (self.executor.pause if self.paused else self.executor.resume)()

    def stop(self):
        for future in self.futures:
            future.cancel(running=True)
        self.futures = []

    def tick(self):
        """Never waits: asks what is done, shows it, and comes again."""
        now = time.monotonic()
        self.longest_gap = max(self.longest_gap, now - self.last_tick)
        self.last_tick = now
        self.clock["text"] = time.strftime("%H:%M:%S")
        done = [future for future in self.futures if future.done()]
        self.bar["value"] = len(done)
        if self.futures:
            found = sum(future.result() for future in done if not future.cancelled())
            state = "paused" if self.paused else "done" if len(done) == STEPS else "computing"
            self.said["text"] = f"{state}: {found:,} primes so far, {len(done)} of {STEPS} parts"
        self.root.after(int(TICK * 1000), self.tick)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--demo", type=float, metavar="SECONDS", help="start by itself, and close after so long"
    )
    options = parser.parse_args()
    # not fork: a child must not have a copy of the connection to the display
    context = multiprocessing.get_context("forkserver")
    with manyhands.Executor("processes", mp_context=context) as executor:
        root = tkinter.Tk()
        window = Window(root, executor)
        if options.demo:
            root.after(100, window.start)
            root.after(int(options.demo * 1000), root.destroy)
        root.mainloop()
        done = sum(future.done() for future in window.futures)
        window.stop()
    print(f"{done} parts done; the longest gap between two ticks: {window.longest_gap * 1000:.0f} ms")


if __name__ == "__main__":
    main()
