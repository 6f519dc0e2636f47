"""A task raises an exception that pickles but cannot be unpickled.

stdlib: `Pool.map` hangs.  Wanted: an exception that shows the original's type, message and traceback.
"""

import multiprocessing


class TwoArguments(Exception):
    def __init__(self, a, b):
        super().__init__(f"{a} and {b}")


def work(x):
    raise TwoArguments(x, x)


if __name__ == "__main__":
    with multiprocessing.Pool(2) as pool:
        try:
            pool.map(work, [7])
        except Exception as error:
            text = repr(error) + str(error) + str(error.__cause__)
            assert "TwoArguments" in text and "7 and 7" in text, text
        else:
            raise SystemExit("no error")
    print("OK")
