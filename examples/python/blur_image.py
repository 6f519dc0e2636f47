"""Work on an image with all cores: the pixels lie in shared memory, and each worker writes its own rows.

    python blur_image.py [IN.ppm OUT.ppm]

Without files it makes an image of 12 million pixels. Needs NumPy. PPM (P6) is what
`convert photo.jpg photo.ppm` writes.
"""

import itertools
import os
import sys
import time

import manyhands
from manyhands import shared

RADIUS = 6


def read_ppm(path):
    import numpy

    with open(path, "rb") as file:
        words = []
        while len(words) < 4:
            words += file.readline().split(b"#")[0].split()
        if words[0] != b"P6" or words[3] != b"255":
            raise ValueError(f"{path} is not a PPM of one byte a colour")
        width, height = int(words[1]), int(words[2])
        return numpy.frombuffer(file.read(), "u1").reshape(height, width, 3)


def write_ppm(path, image):
    with open(path, "wb") as file:
        file.write(b"P6\n%d %d\n255\n" % (image.shape[1], image.shape[0]))
        file.write(image.tobytes())


def blur_rows(source, target, first, last):
    """Each pixel becomes the mean of the square around it; what lies beyond the edge is like the edge."""
    import numpy

    size = 2 * RADIUS + 1
    rows = numpy.clip(numpy.arange(first - RADIUS, last + RADIUS), 0, len(source) - 1)
    part = numpy.pad(source[rows], ((1, 0), (RADIUS + 1, RADIUS), (0, 0)), "edge").astype("u4")
    part[0] = 0
    part[:, 0] = 0
    sums = part.cumsum(0).cumsum(1)  # of a rectangle it is four numbers
    target[first:last] = (
        sums[size:, size:] - sums[:-size, size:] - sums[size:, :-size] + sums[:-size, :-size]
    ) // size**2


def main():
    try:
        import numpy
    except ImportError:
        print("This example needs NumPy: pip install numpy")
        return 1
    if len(sys.argv) == 3:
        image = read_ppm(sys.argv[1])
    else:
        y, x = numpy.ogrid[:3000, :4000]
        image = numpy.stack([x * y % 256, (x + y) % 256, x % 2 * 255 + 0 * y], -1).astype("u1")
    source, target = shared.array(image), shared.empty(image.shape, "u1")
    cores = len(os.sched_getaffinity(0))
    steps = [*range(0, len(source), 64), len(source)]
    with manyhands.Executor("processes", max_workers=cores, inner_threads=1) as executor:
        list(executor.map(abs, range(cores)))  # the workers are there before we look at the clock
        began = time.monotonic()
        tasks = [executor.submit(blur_rows, source, target, *rows) for rows in itertools.pairwise(steps)]
        for task in tasks:
            task.result()
        parallel = time.monotonic() - began
    alone = numpy.empty_like(image)
    began = time.monotonic()
    for rows in itertools.pairwise(steps):
        blur_rows(image, alone, *rows)
    serial = time.monotonic() - began
    print(
        f"{image.shape[1]} x {image.shape[0]} pixels, {len(tasks)} parts, equal: {numpy.array_equal(alone, target)}"
    )
    print(f"one process {serial:.2f} s, {cores} processes {parallel:.2f} s")
    if len(sys.argv) == 3:
        write_ppm(sys.argv[2], target)
    return 0


if __name__ == "__main__":
    sys.exit(main())
