"""A kitchen with several cooks, as processes.

Processes share nothing by themselves: the counter lies in shared memory, orders travel through a queue, and a semaphore
says that a meal is out. One cook is told to stand still (paused), to go on (resumed), and to go home (terminated). The
last line says whether every order was cooked exactly once.

    python kitchen_processes.py
"""

import signal
import sys

from manyhands.multiprocessing import Array, Lock, Process, Queue, Semaphore


class Kitchen:
    """What the cooks share: it is handed to each of them when they start."""

    def __init__(self, cooks):
        self.orders = Queue(100)
        self.lock = Lock()  # guards meals
        self.meals = Array("i", cooks, lock=False)  # shared memory: a place for each cook
        self.served = Semaphore(0)  # one more for each meal that leaves the kitchen

    def serve(self, count):
        """Hand in orders, and wait until that many meals are out."""
        for order in range(count):
            self.orders.put(order)
        for _ in range(count):
            assert self.served.acquire(timeout=10), "a meal never came out"


class Cook(Process):
    """A cook is a process: subclass Process and override run()."""

    def __init__(self, number, name, kitchen):
        super().__init__(name=name)
        self.number, self.kitchen = number, kitchen

    def run(self):
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # terminate() is a request: leave in order
        kitchen = self.kitchen
        while (order := kitchen.orders.get()) is not None:
            self.cook(order)

    def cook(self, order):
        with self.kitchen.lock:
            self.kitchen.meals[self.number] += 1
        self.kitchen.served.release()

    @property
    def meals(self):
        """How many this cook has cooked, seen from any process."""
        return self.kitchen.meals[self.number]


def main():
    names = ("Ana", "Ben", "Cem")
    kitchen = Kitchen(len(names))
    ana, ben, cem = cooks = [Cook(number, name, kitchen) for number, name in enumerate(names)]
    for cook in cooks:
        cook.start()
    print(f"The kitchen opens with {len(cooks)} cooks.")
    kitchen.serve(30)
    print("30 meals are out: " + ", ".join(f"{cook.name} {cook.meals}" for cook in cooks) + ".")

    assert ben.pause(timeout=10), "Ben did not stop"
    assert ben.state == "paused", ben.state
    before = ben.meals
    kitchen.serve(30)
    assert ben.meals == before, "Ben cooked while he was paused"
    print(f"Ben stood still; the others cooked 30 meals, he still has {before}.")

    # With the others paused it can only be Ben who cooks.
    ben.resume()
    assert ana.pause(timeout=10) and cem.pause(timeout=10), "Ana or Cem did not stop"
    kitchen.serve(10)
    assert ben.meals == before + 10, "Ben did not cook all ten"
    ana.resume()
    cem.resume()
    print("Ben went on, and cooked 10 meals alone while the others had a break.")

    ben.terminate()
    ben.join(timeout=10)
    assert ben.exitcode == 0 and ben.state == "finished", "Ben did not go home"
    before = ben.meals
    kitchen.serve(30)
    assert ben.meals == before, "Ben cooked from home"
    print(f"Ben was sent home with {before} meals; the others cooked 30 more.")

    for _ in (ana, cem):
        kitchen.orders.put(None)
    for cook in cooks:
        cook.join(timeout=10)
    print("Closed. Ordered 100, cooked by " + " + ".join(f"{cook.name} {cook.meals}" for cook in cooks) + ".")
    assert sum(cook.meals for cook in cooks) == 100, "an order was lost or cooked twice"


if __name__ == "__main__":
    main()
