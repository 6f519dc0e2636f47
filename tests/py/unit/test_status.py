"""`status` tells ours from the standard library's by looking, not by a list."""

import json
import subprocess
import sys
import threading

from manyhands import _status


def test_a_name_is_ours_only_where_the_object_differs():
    assert not _status._is_ours(threading.Thread, threading.Thread)
    assert _status._is_ours(type("Thread", (), {}), threading.Thread)
    assert not _status._is_ours(threading.Event().set, None)


def test_every_public_name_of_the_stdlib_modules_is_listed():
    import concurrent.futures
    import queue

    rows = {(row.module, row.name) for row in _status.survey()}
    for module, std in (("threading", threading), ("queue", queue), ("futures", concurrent.futures)):
        for name in std.__all__:
            assert (f"manyhands.{module}", name) in rows


def test_the_command_prints_what_the_survey_found():
    done = subprocess.run(
        [sys.executable, "-m", "manyhands", "status", "--json"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert [tuple(row.values()) for row in json.loads(done.stdout)] == [
        tuple(row) for row in _status.survey()
    ]


def test_a_reader_that_leaves_early_is_no_error():
    with subprocess.Popen(
        [sys.executable, "-u", "-m", "manyhands", "status"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as command:
        command.stdout.readline()
        command.stdout.close()
        assert command.stderr.read() == ""
        assert command.wait(60) in (0, 1)
