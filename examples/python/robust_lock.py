"""A lock whose owner is killed, and what the next owner does about it.

Two accounts lie in shared memory; what leaves the one must come to the other. A clerk is killed halfway, while it
holds the lock. With the standard library everybody else would wait for ever. Here the next one is told, and repairs the
accounts from the note that every transfer writes first.

python robust_lock.py
"""

import os
import signal

from manyhands import OwnerDiedError
from manyhands.multiprocessing import get_context

mp = get_context("fork")


class Bank:
    def __init__(self) -> None:
        self.lock = mp.Lock()
        self.accounts = mp.Array("l", [100, 100], lock=False)
        self.note = mp.Array("l", [100, 100], lock=False)  # what they were before the transfer under way

    def enter(self) -> None:
        """Hold the lock; the accounts are whole."""
        try:
            self.lock.acquire()
        except OwnerDiedError:  # not held: everybody who asks is told
            if self.lock.recover(timeout=30):  # held: one at a time gets in
                self.repair()

    def repair(self) -> None:
        """The first one finds the damage; whoever recovers after it finds the accounts whole."""
        if sum(self.accounts) != 200:
            print(f"the last owner died inside: {self.accounts[0]} + {self.accounts[1]}", flush=True)
            self.accounts[:] = self.note[:]
            print(f"repaired: {self.accounts[0]} + {self.accounts[1]}", flush=True)

    def transfer(self, amount: int, killed: bool) -> None:
        self.enter()
        self.note[:] = self.accounts[:]
        self.accounts[0] -= amount
        if killed:
            os.kill(os.getpid(), signal.SIGKILL)
        self.accounts[1] += amount
        self.lock.release()


def main() -> None:
    bank = Bank()
    for amount, killed in ((10, False), (20, True), (30, False)):
        clerk = mp.Process(target=bank.transfer, args=(amount, killed))
        clerk.start()
        clerk.join()
        print(f"a clerk moved {amount}: exit code {clerk.exitcode}", flush=True)
    bank.enter()
    print(f"at the end: {bank.accounts[0]} + {bank.accounts[1]} = {sum(bank.accounts)}")
    bank.lock.release()


if __name__ == "__main__":
    main()
