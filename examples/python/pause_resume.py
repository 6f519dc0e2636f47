"""Pause a thread while it computes, look at its work in peace, and let it go on."""

import manyhands
from manyhands.threading import Thread


class Counter(Thread):
    def __init__(self) -> None:
        super().__init__(name="counter")
        self.turns = 0
        self.enough = False

    def run(self) -> int:
        while not self.enough:
            self.turns += 1
            manyhands.checkpoint()  # needed on Python 3.11 only
        return self.turns


counter = Counter()
counter.start()
for look in (1, 2, 3):
    counter.pause()
    before = counter.turns
    assert counter.turns == before  # nobody counts now
    print(f"look {look}: {counter.state}")
    counter.resume()
counter.enough = True
counter.join()
assert counter.outcome is not None
print(f"{counter.outcome}, with all of its turns: {counter.outcome.value == counter.turns}")
