"""Many threads wait on one Condition with time-outs while another notifies: no wake-up may be lost.

stdlib: correct, but slow.  Wanted: correct.
"""

import threading

if __name__ == "__main__":
    condition = threading.Condition()
    tickets, taken = 0, []

    def wait_for_one():
        global tickets
        for _ in range(200):
            with condition:
                while not tickets:
                    if not condition.wait(30):
                        return
                tickets -= 1
                taken.append(1)

    threads = [threading.Thread(target=wait_for_one) for _ in range(8)]
    for thread in threads:
        thread.start()
    for _ in range(8 * 200):
        with condition:
            tickets += 1
            condition.notify()
    for thread in threads:
        thread.join(60)
    assert len(taken) == 1600, len(taken)
    print("OK")
