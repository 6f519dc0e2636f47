"""A long computation with progress that survives Ctrl-C, kill -9 and power cuts: run it again, and it goes on.

    python resume.py results.txt [PARTS]

Looks for the longest chains of the Collatz rule below PARTS x 20,000. Each part's result is a line of the file, written
when it is there; a part without a line is computed again. The last line printed is the same, however often it was
interrupted.
"""

import os
import sys

import manyhands

SIZE = 20_000


def longest_chain(part):
    """(part, number, steps): of the numbers of this part the one that takes longest to come to 1."""
    best, most = 0, -1
    for start in range(max(1, part * SIZE), (part + 1) * SIZE):
        n, steps = start, 0
        while n != 1:
            n = n // 2 if n % 2 == 0 else 3 * n + 1
            steps += 1
        if steps > most:
            best, most = start, steps
    return part, best, most


def read(path):
    """What is there already. A line that was cut short by a power cut has no end, and does not count."""
    found = {}
    if os.path.exists(path):
        with open(path, "rb+") as file:
            text = file.read()
            whole = text[: text.rfind(b"\n") + 1]
            file.truncate(len(whole))
        for line in whole.decode().splitlines():
            part, number, steps = map(int, line.split())
            found[part] = (number, steps)
    return found


def main():
    path = sys.argv[1] if len(sys.argv) > 1 else "results.txt"
    parts = int(sys.argv[2]) if len(sys.argv) > 2 else 100
    found = read(path)
    missing = [part for part in range(parts) if part not in found]
    print(f"{len(found)} parts are there, {len(missing)} to do", flush=True)
    results = manyhands.map(
        longest_chain, missing, kind="processes", chunksize=1, ordered=False, progress="parts", retries=2
    )
    try:
        with open(path, "a") as file:
            for part, number, steps in results:
                print(part, number, steps, file=file, flush=True)
                found[part] = (number, steps)
    except KeyboardInterrupt:
        results.close()  # ends what runs
        print(f"interrupted: {len(found)} of {parts} parts are kept; run it again to go on", flush=True)
        return 130
    number, steps = max((found[part] for part in range(parts)), key=lambda one: (one[1], -one[0]))
    print(f"below {parts * SIZE:,} the longest chain begins at {number:,}: {steps} steps")
    return 0


if __name__ == "__main__":
    sys.exit(main())
