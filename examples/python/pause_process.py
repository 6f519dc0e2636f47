"""Pause a process while it works, look at its work in peace, let it go on, and end it."""

import time
from typing import Any

from manyhands.multiprocessing import Process, Queue, RawArray


class Counter(Process):
    """Counts in shared memory, and tells a queue of every ten thousandth turn."""

    def __init__(self, turns: Any, news: Any) -> None:
        super().__init__(name="counter", die_with_parent=True)  # also where this program is killed
        self.turns, self.news = turns, news

    def run(self) -> None:
        while True:
            self.turns[0] += 1
            if self.turns[0] % 10_000 == 0:
                self.news.put(self.turns[0])


def main() -> None:
    turns, news = RawArray("q", 1), Queue()
    counter = Counter(turns, news)
    counter.start()
    for look in (1, 2, 3):
        news.get()  # it is at work
        counter.pause()
        before, used = turns[0], counter.cpu_time
        time.sleep(0.05)
        stands = turns[0] == before and counter.cpu_time == used
        print(f"look {look}: {counter.state}, stands still: {stands}")
        # Paused, but never in the middle of a put: others may go on to use the queue.
        news.put("from the main process")
        while news.get() != "from the main process":
            pass
        counter.resume()
    print(f"alive: {counter.memory > 0}")
    counter.terminate()
    counter.join()
    print(f"{counter.state}: {counter.outcome}")


if __name__ == "__main__":
    main()
