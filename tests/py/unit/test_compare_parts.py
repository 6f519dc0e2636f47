"""The parts of compare one by one: items, targets, fingerprints, units, the GIL probe's arithmetic."""

import collections
import dataclasses
import functools
import itertools
import os
import pickle
import subprocess
import sys
import threading
import time

import pytest
from manyhands.advise import gil, machine, pilot, sampler, target, tree, units
from manyhands.advise.errors import BadInput
from manyhands.advise.fingerprint import fingerprint
from manyhands.advise.memory import MemoryMeter
from manyhands.advise.model import Span
from manyhands.advise.render import charts, data
from manyhands.advise.subjects import sample

LOCK = threading.Lock()


@dataclasses.dataclass
class Thing:
    a: int
    b: list


class Plain:
    def __init__(self, x):
        self.x = x


class Identity:
    __slots__ = ()


def uses_lock(item):
    with LOCK:
        return item


def test_fingerprints_of_equal_values_are_equal():
    text = "".join(["a", "b"])
    values = [
        ({"x": 1, "y": [2]}, {"y": [2], "x": 1}),
        ({3, 1, 2}, {2, 3, 1}),
        ([text, text], ["ab", "".join(["a", "b"])]),
        (float("nan"), float("nan")),
        (Thing(1, [2]), Thing(1, [2])),
        (Plain([1]), Plain([1])),
        (collections.Counter("aab"), collections.Counter("baa")),
        (b"x", bytearray(b"x")),
    ]
    for one, other in values:
        assert fingerprint(one) == fingerprint(other) is not None


def test_fingerprints_of_different_values_differ():
    values = [
        0,
        1,
        "1",
        b"1",
        1.5,
        None,
        True,
        [1],
        (1,),
        {1},
        {1: 1},
        [1, 2],
        [[1], 2],
        ["ab", "c"],
        ["a", "bc"],
        Thing(1, []),
        Thing(1, [1]),
        Plain(1),
        Plain(2),
    ]
    prints = [fingerprint(value) for value in values]
    assert len(set(prints)) == len(values)


def test_what_has_only_identity_has_no_fingerprint():
    assert fingerprint(object()) is None
    assert fingerprint(n for n in ()) is None
    endless = []
    endless.append(endless)
    assert fingerprint(endless) is None


def test_arrays_have_fingerprints():
    numpy = pytest.importorskip("numpy")
    assert fingerprint(numpy.arange(5)) == fingerprint(numpy.arange(5))
    assert fingerprint(numpy.arange(6)) != fingerprint(numpy.arange(6).reshape(2, 3))
    assert fingerprint(numpy.array(["x", 1], object)) == fingerprint(numpy.array(["x", 1], object))


def test_items_from_number_glob_and_file(tmp_path):
    for name in ("b.txt", "a.txt", "c.dat"):
        (tmp_path / name).write_text(f"{name}\n\n  two\n")
    assert target.parse_items("3") == range(3)
    assert [os.path.basename(path) for path in target.parse_items(f"{tmp_path}/*.txt")] == ["a.txt", "b.txt"]
    assert target.parse_items(f"@{tmp_path}/a.txt") == ["a.txt", "  two"]


@pytest.mark.parametrize(
    "text, words",
    [
        (None, "say what to call it with"),
        ("0", "nothing to do"),
        ("-3", "nothing to do"),
        ("/nowhere/*.x", "matches no file"),
        ("@/nowhere/list", "No such file"),
    ],
)
def test_items_that_are_none(text, words):
    with pytest.raises(BadInput, match=words):
        target.parse_items(text)


def test_empty_and_binary_lists(tmp_path):
    (tmp_path / "empty").write_text("\n\n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadInput, match="no lines"):
        target.parse_items(f"@{tmp_path}/empty")
    with pytest.raises(BadInput, match="not a text file"):
        target.parse_items(f"@{tmp_path}/binary")


def test_files_that_share_a_name_with_a_module_get_their_own(tmp_path):
    (tmp_path / "json.py").write_text("def work(x): return x + 1\n")
    found = target.parse_target(f"{tmp_path}/json.py:work")
    import json

    assert found.function(1) == 2 and hasattr(json, "dumps")
    assert found.payload is not None and pickle.loads(pickle.dumps(found.payload)).load()(1) == 2


@pytest.mark.parametrize(
    "text, words",
    [
        ("work", "names no function"),
        ("os:", "names no function"),
        ("nowhere.py:work", "no file"),
        ("no_such_module:work", "no module"),
        ("no.such.module:work", "no module"),
        ("os:pathh", "no function"),
        ("os:sep", "no function but a str"),
    ],
)
def test_targets_that_do_not_exist(text, words):
    with pytest.raises(BadInput, match=words):
        target.parse_target(text)


def test_a_module_that_cannot_be_imported_says_where(tmp_path):
    (tmp_path / "broken_for_compare.py").write_text("x = 1\nx = 1 / 0\n")
    with pytest.raises(BadInput, match=r"ZeroDivisionError.*line 2"):
        target.parse_target(f"{tmp_path}/broken_for_compare.py:work")
    (tmp_path / "wrong_for_compare.py").write_text("def work(:\n")
    with pytest.raises(BadInput, match="SyntaxError"):
        target.parse_target(f"{tmp_path}/wrong_for_compare.py:work")


def test_closures_travel_by_value():
    pytest.importorskip("cloudpickle")
    factor = 3
    found = target.from_function(lambda x: x * factor)
    assert found.payload is not None and found.payload.load()(2) == 6


def test_what_cannot_travel_says_why():
    held = threading.Lock()
    found = target.from_function(lambda x: (held, x))
    assert found.payload is None and found.travel_error


def test_locks_are_found_in_the_code():
    held = threading.RLock()

    def inner(item):
        with held:
            return item

    assert target.locks_used(uses_lock) == ("LOCK",)
    assert target.locks_used(functools.partial(uses_lock)) == ("LOCK",)
    assert target.locks_used(inner) == ("held",)
    assert target.locks_used(len) == ()
    assert target.locks_used(Plain) == ()


@pytest.mark.parametrize("count", [1, 2, 3, 10, 97, 1000])
def test_spread_order_visits_every_index_once(count):
    assert sorted(pilot.spread_order(count)) == list(range(count))


def test_any_beginning_of_the_order_is_spread():
    begin = sorted(list(pilot.spread_order(1000))[:50])
    gaps = [b - a for a, b in itertools.pairwise(begin)]
    assert max(gaps) < 60


def test_held_share():
    idle = [(0.00108, 0.00008)] * 20
    assert gil.held_share(idle, [(0.00108, 0.00008)] * 50) == 0.0
    assert gil.held_share(idle, [(0.0062, 0.0052)] * 50) == 1.0
    # one call of C code that held the GIL for 99 ms, then free ticks for 11 ms
    assert gil.held_share(idle, [(0.1, 0.099)] + [(0.0011, 0.0001)] * 10) == pytest.approx(0.9, abs=0.01)
    # a machine whose ticks are always 1 ms late is not one whose GIL is held
    assert gil.held_share([(0.002, 0.001)] * 20, [(0.002, 0.001)] * 50) == 0.0
    assert gil.held_share(idle, []) is None


@pytest.mark.skipif(not machine.gil_enabled(), reason="there is no GIL to hold")
def test_the_probe_tells_sleeping_from_computing():
    with gil.GilProbe() as sleeping:
        time.sleep(0.1)
    with gil.GilProbe() as computing:
        until = time.perf_counter() + 0.3
        while time.perf_counter() < until:
            sum(range(1000))
    assert sleeping.share is not None and sleeping.share < 0.3
    assert computing.share is not None and computing.share > 0.7


def test_units():
    assert [units.seconds_text(s) for s in (1.84, 0.0703, 12e-6, 85e-9, 0.9999, 123.4, None)] == [
        "1.84 s",
        "70.3 ms",
        "12.0 µs",
        "85.0 ns",
        "1.00 s",
        "123 s",
        "-",
    ]
    assert [units.bytes_text(b) for b in (0, 999, 31e6, 1.2e9, None)] == [
        "0 B",
        "999 B",
        "31 MB",
        "1.2 GB",
        "-",
    ]
    assert [units.times_text(t) for t in (1.94, 0.03, 0.001, 220.4)] == ["1.9x", "0.03x", "<0.01x", "220x"]
    assert [units.rough_seconds_text(s) for s in (0.0533, 1.84, 247e-9)] == ["53 ms", "1.8 s", "250 ns"]
    assert [units.count_text(c) for c in (0.2, 4.1, 1234.0)] == ["1", "5", "1,200"]


def test_states_of_a_timeline():
    spans = [Span("worker 1", 0.1, 0.5, 0.3), Span("worker 1", 0.6, 0.7, 0.2)]
    found = charts.states(spans)
    handed_over = [(round(start, 6), round(length, 6)) for _, start, length in found["transferring"]]
    assert handed_over == [(0.0, 0.1), (0.5, 0.1)]
    assert [round(length, 6) for _, _, length in found["running"]] == [0.3, 0.1]
    assert [round(length, 6) for _, _, length in found["waiting"]] == [0.1]
    assert charts.states(spans, shortest=0.2)["transferring"] == []


def test_files_are_written_whole_or_not_at_all(tmp_path):
    data.write_whole(str(tmp_path / "out"), "all of it")
    assert (tmp_path / "out").read_text() == "all of it"
    with pytest.raises(OSError):
        data.write_whole(str(tmp_path / "nowhere" / "out"), "x")
    with pytest.raises(TypeError):
        data.write_whole(str(tmp_path / "out2"), None)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_memory_of_the_tree_counts_children_and_leaves_nobody():
    with MemoryMeter() as meter:
        pid = meter.pid
        meter.begin()
        alone = meter.end()
        code = "x = b'x' * 50_000_000; print(1, flush=True); input()"
        child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        child.stdout.readline()
        meter.begin()
        both = meter.end()
        meter.ignored = {child.pid}
        meter.begin()
        without = meter.end()
        child.communicate(b"\n")
    assert alone is not None and both > alone + 50_000_000 and without < alone + 20_000_000
    assert not os.path.exists(f"/proc/{pid}")


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_cpu_time_of_another_process():
    code = "import time\nwhile time.process_time() < 0.3: pass\nprint(1, flush=True); input()"
    child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    child.stdout.readline()
    assert child.pid in tree.descendants() and sampler.tree(child.pid, set()) == [child.pid]
    assert 0.3 <= tree.cpu_seconds([child.pid]) < 0.6
    tree.end_all({child.pid: tree.started(child.pid)})
    assert child.wait() != 0
    child.stdin.close()
    child.stdout.close()


def test_the_sample_is_fixed():
    one = sample.standard_library(50)
    assert one == sample.standard_library(50)
    assert len(set(one)) == 50 and one == sorted(one)
    assert sample.as_data(one)["sha256"] == sample.as_data(one)["sha256"]


def test_queueing_for_a_core_is_not_waiting():
    assert pilot.cpu_share(1.0, 2.0, 0.0) == 0.5
    assert pilot.cpu_share(1.0, 2.0, 1.0) == 1.0
    assert pilot.cpu_share(1.0, 2.0, 1.5) == 1.0  # clocks are not that exact
    assert pilot.cpu_share(0.01, 1.0, 0.0) == 0.01
    assert pilot.cpu_share(0.0, 0.0, 0.0) == 1.0
