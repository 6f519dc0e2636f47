"""What is held against the subject: further runs of what fails, on the subject and on the plain standard library."""

import collections
import fnmatch
import re
import time

from .jobs import list_suite, run_ids
from .suites import SUITES

BAD = ("fail", "error", "timeout", "crash")


def collect(env, plain, modules, options):
    """The tests that the standard library has, those that the subject has, modules that are absent, and a note."""
    want, absent, note = list_suite(plain, modules, options.timeout)
    if want is None:
        return None, None, absent, "cannot list on the stdlib: " + note
    got = want
    if env is not plain:
        got, _, note = list_suite(env, modules, options.timeout)
    # A module that this version of Python does not have is left out.
    want = [pair for pair in want if pair[0] not in absent]
    got = [pair for pair in got or [] if pair[0] not in absent]
    if options.match:
        want = [pair for pair in want if re.search(options.match, pair[0])]
        got = [
            pair
            for pair in got
            if re.search(options.match, pair[0]) or pair[0].startswith("unittest.loader.")
        ]
    return want, got, absent, note


def run_again(env, modules, results, wanted, options):
    """Further runs of what failed; a test that passed once is not asked again."""
    bad = [i for i, r in results.items() if r["status"] in BAD]
    again = {}
    for _ in range(options.retries):
        left = [i for i in bad if again.get(i, {}).get("status") != "pass"]
        # Many hangs are no flake; do not wait for all of them again.
        if sum(results[i]["status"] == "timeout" for i in left) > 5:
            left = [i for i in left if results[i]["status"] != "timeout"]
        if left:
            pairs = [(i, wanted.get(i, i.rpartition(".")[0])) for i in left]
            again.update(run_ids(env, modules, pairs, options)["results"])
    return again


def ask_stdlib(plain, modules, results, wanted, again, options):
    """The same tests on the plain standard library, which gets as many chances to fail as the subject had."""
    doubtful = [i for i, r in results.items() if r["status"] in (*BAD, "skip", "missing")]
    known = {}
    for attempt in range(1 + options.retries):
        ask = [
            (i, wanted[i])
            for i in doubtful
            if i in wanted
            and (
                i not in known
                if attempt == 0
                else results[i]["status"] in BAD
                and known.get(i, {}).get("status") not in BAD
                and again.get(i, {}).get("status") != "pass"
            )
        ]
        if ask:
            known.update(run_ids(plain, modules, ask, options)["results"])
    return {i: known.get(i, {}).get("status") for i in doubtful}


def verdict(status, stdlib, again):
    """What a test that did not simply pass says about the subject."""
    if stdlib is None:  # a test that only the subject's run has, such as _FailedTest
        return "regression" if status in BAD else "extra"
    if status in ("skip", "missing"):
        return "same" if stdlib != "pass" else "flaky" if again == "pass" else "lost"
    if stdlib in BAD:
        return "machine"
    return "flaky" if again == "pass" else "regression"


def run_suite(name, options, env, plain):
    modules, _roots = SUITES[name]
    started = time.monotonic()
    _, mark = env.traced()
    want, got, absent, note = collect(env, plain, modules, options)
    if want is None:
        return {"error": note}

    def progress(tid, result):
        if options.verbose:
            print(f"  {result['status']:8} {result['secs']:7.2f}s  {tid}", flush=True)

    out = run_ids(env, modules, got, options, progress)
    results = out["results"]
    for tid, _ in want:
        if tid not in results:
            detail = "the subject's run does not have this test" + ("\n" + note if note else "")
            results[tid] = {"status": "missing", "secs": 0.0, "detail": detail}
    out["absent_modules"] = sorted(i.replace("unittest.loader._FailedTest.", "") for i in absent)
    if env is not plain:
        wanted = dict(want)
        again = run_again(env, modules, results, wanted, options)
        asked = ask_stdlib(plain, modules, results, wanted, again, options)
        # The standard library ran alone what was skipped here: some tests are, where another of their class ran before.
        lost = [
            (i, wanted[i])
            for i, status in asked.items()
            if status == "pass" and results[i]["status"] not in BAD
        ]
        if lost:
            again.update(run_ids(env, modules, lost, options)["results"])
        for tid, stdlib in asked.items():
            result = results[tid]
            result["stdlib"] = stdlib
            result["verdict"] = verdict(result["status"], stdlib, again.get(tid, {}).get("status"))
    lines, _ = env.traced(mark)
    out["substitution"] = evidence(lines)
    out["not_substituted"] = sorted(
        f"{module}: {key} is {value}"
        for module, held in out["probes"].items()
        for key, value in held.items()
        if env.subject and not value.startswith(env.subject)
    )
    out["seconds"] = round(time.monotonic() - started, 1)
    return out


def read_deliberate(path):
    """Lines `SUITE TEST REASON...`, shell patterns in the first two."""
    listed = []
    with open(path) as f:
        for number, line in enumerate(f, 1):
            if not line.strip() or line.startswith("#"):
                continue
            fields = line.split(None, 2)
            if len(fields) < 3:
                raise SystemExit(f"{path}:{number}: wants SUITE TEST REASON")
            listed.append(fields)
    return listed


def excuse(name, suite, listed):
    """Mark what is held against us and listed; lost: skipped, and alone it would have failed."""
    for tid, r in suite.get("results", {}).items():
        for suite_pattern, test_pattern, reason in listed:
            if (
                r.get("verdict") in ("regression", "lost")
                and fnmatch.fnmatch(name, suite_pattern)
                and fnmatch.fnmatch(tid, "*" + test_pattern)
            ):
                r.update(verdict="deliberate", reason=reason.strip())


def evidence(lines):
    """Condense the trace: how many interpreters, which really substituted."""
    started = {line[0] for line in lines if len(line) > 1 and line[1] == "start"}
    by = collections.defaultdict(set)
    for line in lines:
        if len(line) > 2 and line[1] in ("alias", "stdlib", "refused", "early", "bridge"):
            by[f"{line[1]} {line[2]}"].add(line[0])
    return dict(interpreters=len(started), **{k: len(v) for k, v in sorted(by.items())})
