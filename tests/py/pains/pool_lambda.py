"""A lambda and a closure as tasks.

stdlib: PicklingError.  Wanted: they run.
"""

import multiprocessing

if __name__ == "__main__":
    offset = 10
    with multiprocessing.Pool(2) as pool:
        assert pool.map(lambda x: x + offset, range(4)) == [10, 11, 12, 13]
    print("OK")
