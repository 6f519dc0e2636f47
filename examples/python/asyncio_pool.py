"""Executors in asyncio: await a call, iterate over a map, cancel what runs.

python asyncio_pool.py [KIND]
"""

import asyncio
import sys

import manyhands


def square(x: int) -> int:
    return x * x


def endless() -> None:
    while True:
        manyhands.checkpoint()


async def main(kind: str) -> None:
    async with manyhands.Executor(kind, max_workers=2) as executor:
        print("one:", await executor.run(square, 7))
        print("map:", [value async for value in executor.map(square, range(6), buffersize=2)])
        try:
            await executor.options(timeout=0.3).run(endless)
        except TimeoutError as error:
            print("late:", error)
        waiting = asyncio.ensure_future(executor.run(endless))
        await asyncio.sleep(0.1)
        waiting.cancel()  # ends the task, too
        print("all:", sum(await asyncio.gather(*(executor.run(square, x) for x in range(5)))))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "processes"))
