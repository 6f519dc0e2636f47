"""A map with a bar, in chunks of measured size, and what the workers did.

python progress.py [KIND [ITEMS]]
"""

import sys

import manyhands


def primes_below(n: int) -> int:
    return sum(all(x % d for d in range(2, int(x**0.5) + 1)) for x in range(2, n))


def main() -> None:
    kind, items, *_ = [*sys.argv[1:], *["processes", "400"][len(sys.argv) - 1 :]]
    with manyhands.Executor(kind, max_workers=2) as executor:
        results = executor.map(
            primes_below, range(int(items)), chunksize="auto", ordered=False, progress="primes"
        )
        print(f"sum: {sum(results)}")
        print(executor.statistics())
    # In one line, without an executor of one's own:
    print(f"largest: {max(manyhands.map(primes_below, range(int(items)), kind=kind, max_workers=2))}")


if __name__ == "__main__":
    main()
