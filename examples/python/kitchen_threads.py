"""A kitchen with several cooks, as threads.

The cooks take orders from a queue and count the meals on one counter that they share, so they lock it. In the middle of
the evening one cook is told to stand still (paused), to go on (resumed), and to go home (terminated). The last line
says whether every order was cooked exactly once.

    python kitchen_threads.py
"""

import manyhands
from manyhands.queue import Queue
from manyhands.threading import Lock, Semaphore, Thread


class Kitchen:
    """What the cooks share: threads see the same objects."""

    def __init__(self):
        self.orders = Queue(100)
        self.lock = Lock()  # guards meals
        self.meals = 0
        self.served = Semaphore(0)  # one more for each meal that leaves the kitchen

    def serve(self, count):
        """Hand in orders, and wait until that many meals are out."""
        for order in range(count):
            self.orders.put(order)
        for _ in range(count):
            assert self.served.acquire(timeout=10), "a meal never came out"


class Cook(Thread):
    """A cook is a thread: subclass Thread and override run()."""

    def __init__(self, name, kitchen):
        super().__init__(name=name)
        self.kitchen, self.meals = kitchen, 0

    def run(self):
        # Waiting for an order is where a cook is paused, or learns that it is to go home.
        while (order := self.kitchen.orders.get()) is not None:
            self.cook(order)

    def cook(self, order):
        with manyhands.shield():  # an order that was begun is finished: nobody pauses or ends us in between
            with self.kitchen.lock:
                self.kitchen.meals += 1
                self.meals += 1
            self.kitchen.served.release()


def main():
    kitchen = Kitchen()
    ana, ben, cem = cooks = [Cook(name, kitchen) for name in ("Ana", "Ben", "Cem")]
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
    assert not ben.is_alive() and ben.state == "finished", "Ben did not go home"
    before = ben.meals
    kitchen.serve(30)
    assert ben.meals == before, "Ben cooked from home"
    print(f"Ben was sent home with {before} meals; the others cooked 30 more.")

    for _ in (ana, cem):
        kitchen.orders.put(None)
    for cook in cooks:
        cook.join(timeout=10)
    total = sum(cook.meals for cook in cooks)
    print(
        f"Closed. Ordered 100, counted {kitchen.meals}, cooked by "
        + " + ".join(f"{cook.name} {cook.meals}" for cook in cooks)
        + "."
    )
    assert kitchen.meals == total == 100, "an order was lost or cooked twice"


if __name__ == "__main__":
    main()
