"""The command: run suites on a subject and report; the exit status says whether anything is held against it."""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile

from .environment import Environment
from .jobs import Job, kill_job
from .judge import excuse, read_deliberate, run_suite
from .report import report
from .suites import SUITES

DESCRIPTION = """\
Run CPython's own installed tests on a package that stands in for four modules of the standard library:
threading, queue, multiprocessing and concurrent.futures. They are substituted in the test process and in every
Python process that a test starts. Every test class runs in a worker process of its own, and a hang costs one test.
Whatever does not pass is run again on the subject (flaky?) and as often on the plain standard library (does it fail on
this machine anyhow?); only what fails on the subject and passes there is held against the subject.
Exit status: 0 nothing is held against the subject, 1 something is, 2 the runner could not do its work.
"""


def parse(argv):
    parser = argparse.ArgumentParser(
        prog="conformance",
        description=DESCRIPTION,
        epilog="suites: " + ", ".join(SUITES),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--python", default=sys.executable, help="the interpreter whose installed tests are run")
    add("--subject", default="manyhands", help="the package under test, or 'stdlib'")
    add("--subject-path", action="append", default=[], help="a folder that holds it; may be repeated")
    add("--suite", action="append", choices=list(SUITES), help="only this suite; may be repeated")
    add("-k", "--match", help="only test ids that match this regular expression")
    add(
        "--via",
        choices=("hook", "launcher"),
        default="hook",
        help="hook: the runner substitutes; launcher: the subject does, as `python -m SUBJECT run -m ...`",
    )
    add(
        "--tests-dir",
        action="append",
        default=[],
        help="folder with test modules that the installation lacks, such as Lib/test of a checkout of the same"
        " version (3.11.5 and later 3.11, 3.12.0 and 3.12.1 do not install test_concurrent_futures)",
    )
    add("--timeout", type=float, default=120, help="seconds without an event before a test is killed")
    add("--retries", type=int, default=3, help="further runs of what fails, on the subject and on the stdlib")
    add("-j", "--jobs", type=int, default=1, help="worker processes at a time; 1 is the least noisy")
    add("--deliberate", help="file of tests that may fail on purpose, lines `SUITE TEST REASON`")
    add("--json", help="write everything there")
    add("--keep", action="store_true", help="keep the work folder")
    add("-v", "--verbose", action="store_true")
    options = parser.parse_args(argv)
    options.tests_dir = [os.path.abspath(path) for path in options.tests_dir]
    return options


def importable(env, subject):
    """Is the package there? What of it cannot be imported is told."""
    for part in ("", ".threading", ".queue", ".multiprocessing", ".futures"):
        code = f"import {subject}{part}"
        done = subprocess.run([env.python, "-c", code], capture_output=True, text=True)
        if done.returncode:
            print(f"note: cannot import {subject}{part}: {done.stderr.strip().splitlines()[-1:]}")
            if not part:
                return False
    return True


def judge(options, work, deliberate):
    """Run the suites; returns the exit status."""
    ask = "import sys; print(sys.version.split()[0])"
    asked = subprocess.run([options.python, "-c", ask], check=True, capture_output=True, text=True)
    version = asked.stdout.strip()
    plain = env = Environment(options.python, None, options, work)
    if options.subject != "stdlib":
        env = Environment(options.python, options.subject, options, work)
        if not importable(env, options.subject):
            return 2
    doc = {"python": version, "subject": options.subject, "via": options.via, "suites": {}}
    for name in options.suite or list(SUITES):
        print(f"running {name} on {version} {options.subject} ...", file=sys.stderr, flush=True)
        doc["suites"][name] = run_suite(name, options, env, plain)
        excuse(name, doc["suites"][name], deliberate)
    if options.json:
        with open(options.json, "w") as file:
            json.dump(doc, file, indent=1, sort_keys=True)
    sums = report(doc)
    if any("error" in suite for suite in doc["suites"].values()):
        return 2
    if options.subject == "stdlib":
        return 0
    unsubstituted = any(suite["not_substituted"] for suite in doc["suites"].values())
    return 1 if sums["regression"] or sums["lost"] or unsubstituted else 0


def main(argv=None):
    options = parse(argv)
    deliberate = read_deliberate(options.deliberate) if options.deliberate else []
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(2))
    work = tempfile.mkdtemp(prefix="cf-")
    try:
        return judge(options, work, deliberate)
    finally:
        for job in list(Job.live):
            kill_job(job.proc, job.mark)
        if options.keep:
            print("work folder: " + work, file=sys.stderr)
        else:
            shutil.rmtree(work, ignore_errors=True)
