"""The verdict of compare, on reports that are made up: the right answer for each kind of work."""

import dataclasses
import random

import pytest
from manyhands.advise.measure import leave_out_crowded
from manyhands.advise.model import Facts, Machine, Report, Row, Sample
from manyhands.advise.render import text
from manyhands.advise.verdict import judge, speed_limit

MACHINE = Machine(2, "a processor", 8 << 30, "Linux", "CPython 3.13.0", True, "manyhands")


def row(engine, workers, wall, cpu, rounds=8, start=0.005, memory=30_000_000, noise=0.01, others=None):
    random.seed(f"{engine}{workers}{wall}")
    extra = {} if others is None else {"others": others}
    samples = [
        Sample(
            k, wall * random.uniform(1 - noise, 1 + noise), cpu, 0.0 if engine == "serial" else start, extra
        )
        for k in range(rounds)
    ]
    return Row(engine, workers, samples=samples, peak_memory=memory, equal=True)


def report(*rows, cpu_share, gil_share, items=100, machine=MACHINE, equality="Results equal.", **facts):
    wall = rows[0].samples[0].wall
    found = Facts(cpu_share, gil_share, wall / items, items, items, 1, **facts)
    return Report("work", "100 items", machine, list(rows), found, equality=equality)


def test_python_code_goes_to_processes():
    verdict = judge(
        report(
            row("serial", 1, 2.0, 2.0),
            row("threads", 2, 2.02, 2.0),
            row("processes", 2, 1.05, 2.1),
            cpu_share=1.0,
            gil_share=0.98,
        )
    )
    assert verdict.choice == "processes"
    assert "GIL" in verdict.reason
    assert verdict.pays_seconds == pytest.approx(0.005 / (1 - 1.05 / 2.0), rel=0.1)


@pytest.mark.parametrize(
    "processes, interpreters, choice, word",
    [
        (
            1.05,
            1.04,
            "processes",
            "Interpreters, in one process: 1.9x.",
        ),  # no clear difference: what isolates more
        (1.30, 1.05, "interpreters", "processes 1.5x"),
        (2.20, 1.05, "interpreters", "processes 0.9x"),
        (1.05, 2.10, "processes", "Python code holds the GIL"),
        (2.20, 2.10, "serial", "interpreters 1.0x"),
    ],
)
def test_interpreters_are_taken_where_they_are_clearly_better(processes, interpreters, choice, word):
    verdict = judge(
        report(
            row("serial", 1, 2.0, 2.0),
            row("threads", 2, 2.02, 2.0),
            row("processes", 2, processes, 2.1),
            row("interpreters", 2, interpreters, 2.1),
            cpu_share=1.0,
            gil_share=0.98,
        )
    )
    assert verdict.choice == choice and word in verdict.reason, verdict


def test_c_code_that_releases_the_gil_goes_to_either():
    verdict = judge(
        report(
            row("serial", 1, 2.0, 2.0),
            row("threads", 2, 1.05, 2.0),
            row("processes", 2, 1.06, 2.1, memory=60_000_000),
            cpu_share=1.0,
            gil_share=0.02,
        )
    )
    assert verdict.choice == "either"
    assert "take threads" in verdict.headline
    assert "30 MB against 60 MB" in verdict.reason


def test_waiting_goes_to_many_threads():
    verdict = judge(
        report(
            row("serial", 1, 2.0, 0.02),
            row("threads", 2, 1.0, 0.02),
            row("threads", 32, 0.08, 0.03),
            row("processes", 2, 1.0, 0.1),
            row("processes", 32, 0.09, 0.2),
            cpu_share=0.01,
            gil_share=0.01,
        )
    )
    assert (verdict.choice, verdict.workers) == ("threads", 32)
    assert "many" in verdict.headline


def test_a_slightly_better_process_does_not_beat_threads_for_waiting():
    verdict = judge(
        report(
            row("serial", 1, 2.0, 0.02),
            row("threads", 32, 0.10, 0.03),
            row("processes", 32, 0.08, 0.2),
            cpu_share=0.01,
            gil_share=0.01,
        )
    )
    assert verdict.choice == "threads"


@pytest.mark.parametrize("cpu_share", [0.01, 1.0])
def test_threads_that_take_turns_on_a_lock(cpu_share):
    verdict = judge(
        report(
            row("serial", 1, 2.0, 2.0 * cpu_share),
            row("threads", 2, 2.02, 2.0),
            row("processes", 2, 1.02, 2.0),
            cpu_share=cpu_share,
            gil_share=0.02,
            locks=("LOCK",),
        )
    )
    assert verdict.choice == "processes-if-unshared"
    assert "Not threads" in verdict.headline
    assert "'LOCK'" in verdict.reason and "own" in verdict.reason


def test_nothing_overlaps_waiting():
    verdict = judge(
        report(
            row("serial", 1, 2.0, 0.02),
            row("threads", 2, 2.0, 0.02),
            row("processes", 2, 2.01, 0.02),
            cpu_share=0.01,
            gil_share=0.01,
        )
    )
    assert verdict.choice == "serial"
    assert "turns" in verdict.reason


def test_tiny_calls_stay_serial_and_say_from_when_it_pays():
    verdict = judge(
        report(
            row("serial", 1, 0.001, 0.001),
            row("threads", 2, 0.004, 0.004),
            row("processes", 2, 0.011, 0.011),
            cpu_share=1.0,
            gil_share=1.0,
            items=1000,
        )
    )
    assert verdict.choice == "serial"
    # 11 µs a call on processes, of which 0.5 µs is the work's: calls above 2 * 10.5 µs pay
    assert verdict.pays_seconds == pytest.approx(21e-6, rel=0.05)
    assert "21" in verdict.reason


def test_no_difference_is_called_that():
    verdict = judge(
        report(
            row("serial", 1, 1.0, 1.0, noise=0.1),
            row("threads", 2, 1.0, 1.0, noise=0.1),
            row("processes", 2, 1.0, 1.0, noise=0.1),
            cpu_share=1.0,
            gil_share=1.0,
        )
    )
    assert verdict.choice == "serial"
    assert verdict.headline == "No difference beyond noise."


def test_others_on_the_cores_are_named():
    verdict = judge(
        report(
            row("serial", 1, 1.0, 1.0, others=1.0),
            row("threads", 2, 1.0, 1.0, others=1.0),
            row("processes", 2, 1.0, 1.0, others=1.0),
            cpu_share=1.0,
            gil_share=1.0,
        )
    )
    assert verdict.choice == "unclear" and "processes may help" in verdict.reason
    assert any("1.0 of the 2 cores" in warning for warning in verdict.warnings)


def test_the_summary_says_where_the_machine_was_busy():
    def made(others):
        index = report(
            row("serial", 1, 4.0, 1.8, others=others),
            row("threads", 2, 2.0, 1.8, others=others),
            row("processes", 2, 3.0, 1.8, others=others),
            cpu_share=1.0,
            gil_share=1.0,
        )
        index.name, index.verdict = "index", judge(index)
        return text.advice_line([index])

    assert made(1.5).endswith(" (busy machine: repeat it)")
    assert "busy" not in made(0.1)


def test_one_core():
    verdict = judge(
        report(
            row("serial", 1, 1.0, 1.0),
            row("threads", 2, 1.0, 1.0),
            row("processes", 2, 1.1, 1.1),
            cpu_share=1.0,
            gil_share=1.0,
            machine=dataclasses.replace(MACHINE, cores=1),
        )
    )
    assert verdict.choice == "serial" and "one core" in verdict.reason
    assert "handing" not in verdict.reason


@pytest.mark.parametrize("engine", ["threads", "processes"])
def test_more_than_the_cores_can_give_is_suspect(engine):
    other = "processes" if engine == "threads" else "threads"
    verdict = judge(
        report(
            row("serial", 1, 2.0, 2.0),
            row(engine, 2, 0.2, 0.2),
            row(other, 2, 1.1, 2.0),
            cpu_share=1.0,
            gil_share=1.0,
        )
    )
    assert verdict.choice == "suspect"
    assert "less work" in verdict.reason


def test_waiting_work_may_exceed_the_cores():
    assert speed_limit(Facts(0.1, 0.0, 1, 1, 1, 1), 32, 2) == 20
    assert speed_limit(Facts(1.0, 0.0, 1, 1, 1, 1), 32, 2) == 2


def test_different_results_are_no_success():
    verdict = judge(
        report(
            row("serial", 1, 2.0, 2.0),
            row("processes", 2, 1.0, 2.0),
            cpu_share=1.0,
            gil_share=1.0,
            equality="RESULTS DIFFER: processes 2 against serial, first at item 3.",
        )
    )
    assert verdict.choice == "differ"


def test_a_failed_engine_leaves_the_others_comparable():
    failed = Row("processes", 2, failure="a worker died")
    verdict = judge(
        report(
            row("serial", 1, 2.0, 2.0),
            row("threads", 2, 1.05, 2.0),
            failed,
            cpu_share=1.0,
            gil_share=0.0,
        )
    )
    assert verdict.choice == "threads"


def test_one_item():
    verdict = judge(
        report(
            row("serial", 1, 2.0, 2.0),
            row("threads", 2, 2.0, 2.0),
            cpu_share=1.0,
            gil_share=0.0,
            items=1,
        )
    )
    assert verdict.choice == "serial" and "one item" in verdict.reason


def test_a_cache_is_mentioned():
    verdict = judge(
        report(
            row("serial", 1, 0.1, 0.1),
            row("threads", 2, 0.1, 0.1),
            cpu_share=1.0,
            gil_share=1.0,
            first_calls=12.0,
        )
    )
    assert any("cached" in warning for warning in verdict.warnings)


def test_nothing_measured():
    assert judge(Report("work", "", MACHINE)).choice == "unknown"


@pytest.mark.parametrize("width", [78, 80, 120])
def test_tables_keep_to_the_width(width):
    made = report(
        row("serial", 1, 1234.0, 1234.0),
        row("threads", 32, 0.0123, 12.0, memory=31_000_000_000),
        row("processes", 32, 0.123, 0.0012, start=123.4),
        cpu_share=1.0,
        gil_share=1.0,
    )
    made.rows[2].bytes_moved = 123_456_789
    made.verdict = judge(made)
    lines = text.report_lines(made, 1, 4, width)
    assert max(len(line) for line, _ in lines) <= width
    assert any("->" in line for line, _ in lines)


def test_a_certain_gain_of_a_few_percent_is_not_worth_workers():
    verdict = judge(
        report(
            row("serial", 1, 1.08, 1.08),
            row("threads", 2, 1.0, 1.0),
            row("processes", 2, 1.0, 1.0),
            cpu_share=1.0,
            gil_share=1.0,
        )
    )
    assert verdict.choice == "serial"


def test_crowded_rounds_do_not_count_if_enough_quiet_ones_remain():
    made = report(row("serial", 1, 1.0, 1.0), row("processes", 2, 0.55, 1.1), cpu_share=1.0, gil_share=1.0)
    for number in (1, 4):
        made.rows[1].samples[number] = Sample(number, 1.4, 1.1, 0.0, {"others": 1.0})
    leave_out_crowded(made)
    assert [sample.round for sample in made.rows[0].samples] == [0, 2, 3, 5, 6, 7]
    assert [sample.round for sample in made.rows[1].left_out] == [1, 4]
    assert "2 of 8 rounds" in made.notes[0]
    assert judge(made).choice == "processes"


def test_rounds_are_kept_where_all_are_crowded():
    made = report(row("serial", 1, 1.0, 1.0, others=1.0), cpu_share=1.0, gil_share=1.0)
    leave_out_crowded(made)
    assert len(made.rows[0].samples) == 8 and not made.notes


def seen_at_work(**shares):
    """A report of Python work, with what its threads were seen doing."""
    made = report(
        row("serial", 1, 2.0, 2.0),
        row("threads", 2, 2.02, 2.0),
        row("processes", 2, 1.05, 2.1),
        cpu_share=1.0,
        gil_share=0.98,
    )
    made.rows[1].seen = dict.fromkeys(("python", "c", "gil", "lock", "outside"), 0.0) | shares
    return made


def test_the_verdict_says_what_the_threads_were_seen_doing():
    verdict = judge(seen_at_work(gil=0.5, python=0.47, lock=0.03))
    assert "Seen from outside, the threads waited for the GIL 50% and ran Python 47%." in verdict.reason
    verdict = judge(seen_at_work(gil=0.5, python=0.4, c=0.1))
    assert (
        "the threads waited for the GIL 50%, ran Python 40% and ran C without the GIL 10%." in verdict.reason
    )
    assert "Seen" not in judge(seen_at_work()).reason


def test_who_was_seen_waiting_for_the_gil_does_not_wait_for_a_lock():
    """Many short calls into C: the probe found the GIL free, and the threads queue for it all the same."""
    made = seen_at_work(gil=0.6, c=0.3, python=0.1)
    made.facts = dataclasses.replace(made.facts, gil_share=0.1)
    verdict = judge(made)
    assert verdict.choice == "processes" and "holds the GIL" in verdict.reason
    made.rows[1].seen = None
    assert judge(made).choice == "processes-if-unshared"
