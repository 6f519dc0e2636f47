"""Our modules find the standard library's behind them, in whatever order a substituted program imports them."""

import os
import subprocess
import sys
from pathlib import Path

import manyhands
import pytest

if not manyhands.compiled():
    pytest.skip("needs the compiled core", allow_module_level=True)

PACKAGE = Path(manyhands.__file__).parent
OTHERS = {
    "multiprocessing.popen_spawn_win32",
    "futures.interpreter",
}  # where the system and the version have them


def names():
    files = [Path(top, file) for top, _, files in os.walk(PACKAGE, followlinks=True) for file in files]
    for file in sorted(f for f in files if f.suffix == ".py"):
        parts = file.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        if (
            name
            and parts[0] in ("multiprocessing", "futures", "threading", "queue", "_impl")
            and name not in OTHERS
        ):
            yield "manyhands." + name


CODE = """if True:
    import manyhands, sys, importlib
    {before}
    manyhands.install()
    importlib.import_module({name!r})
    from manyhands._facade import stdlib_of, Facade
    names = [n + m for n in ("multiprocessing", "multiprocessing.connection", "multiprocessing.context", "threading",
        "multiprocessing.queues", "multiprocessing.pool", "queue", "concurrent.futures", "concurrent.futures.thread",
        "multiprocessing.synchronize", "multiprocessing.popen_fork", "multiprocessing.managers") for m in ("",)]
    for n in names if {forwards} else reversed(names):
        found = stdlib_of(n)
        assert not isinstance(found, Facade) and found.__name__ == n, (n, found)
        assert stdlib_of(n) is found
    from concurrent.futures import ThreadPoolExecutor
    from multiprocessing import Queue, connection, pool
    from multiprocessing.connection import Pipe
    import threading, queue, multiprocessing.queues
    for module in (threading, queue, multiprocessing, multiprocessing.queues, connection, pool):
        assert module.__name__.startswith("manyhands."), module
    assert Pipe.__module__.startswith("manyhands.") and type(Queue()).__module__.startswith("manyhands.")
    assert ThreadPoolExecutor.__module__.startswith("manyhands.")
"""


@pytest.mark.parametrize(
    "before", ["", "import multiprocessing.connection, concurrent.futures, threading"], ids=["first", "late"]
)
@pytest.mark.parametrize("name", names())
def test_every_module_may_come_first(name, before):
    code = CODE.format(name=name, before=before, forwards=len(name) % 2)
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "MANYHANDS_DEADLOCK": ""},
    )
    assert done.returncode == 0, done.stderr
