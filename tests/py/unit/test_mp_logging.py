"""Log records of children in the parent, and the standard library's log_to_stderr()."""

import logging
import subprocess
import sys

import manyhands
import mp_helpers as helpers
import pytest

if not manyhands.compiled():
    pytest.skip("needs the compiled core", allow_module_level=True)

from manyhands import multiprocessing as mp


class Kept(logging.Handler):
    def __init__(self):
        super().__init__()
        self.records = []

    def emit(self, record):
        self.records.append(record)


@pytest.fixture
def kept():
    handler, logger = Kept(), logging.getLogger("kitchen")
    logging.root.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield handler.records
    logging.root.removeHandler(handler)
    logger.setLevel(logging.NOTSET)


@pytest.fixture(params=("fork", "spawn", "forkserver"))
def context(request):
    return mp.get_context(request.param)


def run(context, target, *args):
    processes = [context.Process(target=target, args=(name, *args)) for name in ("a", "b")]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0


def test_records_arrive_whole_and_in_order(context, kept):
    with mp.forward_logging():
        run(context, helpers.log_many, 100)
    for name in ("a", "b"):
        texts = [r.getMessage() for r in kept if r.getMessage().startswith(name)]
        assert texts == [f"{name} {i}" for i in range(100)]
    assert len(kept) == 200 and {r.name for r in kept} == {"kitchen"}
    assert len({r.process for r in kept}) == 2


def test_levels_are_the_parents(context, kept):
    logging.getLogger("kitchen").setLevel(logging.ERROR)
    with mp.forward_logging():
        run(context, helpers.log_many, 3)
    assert not kept


def test_tracebacks_and_what_does_not_pickle(context, kept):
    with mp.forward_logging():
        run(context, helpers.log_trouble)
    assert len(kept) == 4
    assert sum("ValueError: on purpose" in r.getMessage() for r in kept) == 2
    assert sum(str(getattr(r, "lock", "")).startswith("<unlocked") for r in kept) == 2


def test_grandchildren_forward_to_the_same_place(context, kept):
    with mp.forward_logging():
        run(context, helpers.log_from_a_child, context.get_start_method())
    assert sorted(r.getMessage() for r in kept) == ["a 0", "b 0"]


def test_one_is_in_force_and_stops_for_all(kept):
    first = mp.forward_logging()
    assert mp.forward_logging() is first
    first.stop()
    first.stop()
    run(mp.get_context("fork"), helpers.log_silently)
    assert not kept
    with mp.forward_logging() as second:
        assert second is not first


def test_a_record_after_the_end_is_dropped(kept):
    context = mp.get_context("fork")
    go = context.Event()
    forwarding = mp.forward_logging()
    process = context.Process(target=helpers.log_when, args=(go,))
    process.start()
    forwarding.stop()
    go.set()
    process.join(30)
    assert process.exitcode == 0 and not kept


def test_a_killed_child_holds_up_nobody(kept):
    context = mp.get_context("fork")
    with mp.forward_logging():
        process = context.Process(target=helpers.log_for_ever)
        process.start()
        while not kept:
            process.join(0.01)
        process.kill()
        process.join(30)
        run(context, helpers.log_many, 5)
    assert [r.getMessage() for r in kept if r.getMessage()[0] in "ab"].count("a 4") == 1


PROGRAM = """
import logging, sys
from manyhands import multiprocessing as mp
logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(processName)s %(message)s")
def work():
    logging.info("hello")
if __name__ == "__main__":
    mp.forward_logging()
    process = mp.get_context(sys.argv[1]).Process(target=work, name="child")
    process.start()
"""


def test_the_end_of_the_program_waits_for_the_records(tmp_path, context):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    command = [sys.executable, program, context.get_start_method()]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (ran.stdout, ran.stderr) == ("child hello\n", "")


STDERR = """
import logging, sys
from manyhands import multiprocessing as mp
def work():
    mp.get_logger().info("hello")
if __name__ == "__main__":
    mp.log_to_stderr(logging.INFO)
    process = mp.get_context(sys.argv[1]).Process(target=work, name="child")
    process.start()
    process.join()
"""


def test_log_to_stderr_reaches_children(tmp_path, context):
    program = tmp_path / "program.py"
    program.write_text(STDERR)
    command = [sys.executable, program, context.get_start_method()]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert "[INFO/child] hello" in ran.stderr and "[INFO/child] process exiting with exitcode 0" in ran.stderr
