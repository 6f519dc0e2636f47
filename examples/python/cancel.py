"""Search a folder with several threads; the first hit ends all of them, and so does Ctrl-C or the end of the time.

python cancel.py [FOLDER [WORD [SECONDS]]]
"""

import sys
from pathlib import Path

from manyhands import Cancelled, CancelToken
from manyhands.queue import Queue
from manyhands.threading import Thread, Timer

folder, word, seconds, *_ = [
    *sys.argv[1:],
    *[str(Path(sys.executable).parent), "python", "10"][len(sys.argv) - 1 :],
]
files: Queue[Path] = Queue(100)
stop = CancelToken()  # one value, handed to every wait


def search() -> None:
    try:
        while True:
            path = files.get(cancel=stop)
            if path.is_file() and word.encode() in path.read_bytes():
                stop.cancel(f"found in {path}")
            files.task_done()
    except Cancelled:
        pass


searchers = [Thread(target=search) for _ in range(4)]
timer = Timer(float(seconds), stop.cancel, ["the time was up"])
for thread in (*searchers, timer):
    thread.start()
try:
    for path in Path(folder).rglob("*"):
        files.put(path, cancel=stop)
    files.join(cancel=stop)
    stop.cancel("found nowhere")
except Cancelled:
    pass
except KeyboardInterrupt:
    stop.cancel("interrupted")
timer.cancel()
for thread in searchers:
    thread.join()
print(f"{word!r}: {stop.reason}")
