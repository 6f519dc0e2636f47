"""The table of a run, and below it what is to be looked at."""

import collections
import sys

from .judge import BAD
from .worker import ROOT_NAMES

COLUMNS = ("total", "pass", "fail", "error", "skip", "timeout", "crash", "missing")
VERDICTS = ("machine", "flaky", "deliberate", "lost", "regression")


LEGEND = """\
machine: fails on the plain stdlib as well; flaky: passed when run again;
deliberate: listed with --deliberate; lost: skipped or missing, but passes on the stdlib;
regression: held against the subject"""


def count(suite):
    c = collections.Counter(r["status"] for r in suite["results"].values())
    c["total"] = len(suite["results"])
    c.update(r["verdict"] for r in suite["results"].values() if r.get("verdict") in VERDICTS)
    return c


def table(doc, say):
    """One row for each suite, and their sum, which is returned."""
    subject = doc["subject"] != "stdlib"
    sums = collections.Counter()

    def row(title, counts, end=""):
        line = f"{title:18}" + "".join(f"{counts[column]:8}" for column in COLUMNS)
        if subject:
            line += "  |" + "".join(f"{counts[word]:11}" for word in VERDICTS)
        say(line + end)

    head = f"{'suite':18}" + "".join(f"{column:>8}" for column in COLUMNS)
    if subject:
        head += "  |" + "".join(f"{word:>11}" for word in VERDICTS)
    say(head + f"{'seconds':>9}")
    for name, suite in doc["suites"].items():
        if "error" in suite:
            say(f"{name:18} {suite['error'][-300:]}")
            continue
        counts = count(suite)
        sums.update(counts)
        row(name, counts, f"{suite['seconds']:9.1f}")
    row("sum", sums)
    return sums


def substitution(name, suite, via, say):
    """What shows that the subject was really there."""
    found = suite["substitution"]
    aliases = [
        f"{key.split(' ', 1)[1]} {number}"
        for key, number in found.items()
        if key.startswith("alias") and key.split(" ", 1)[1] in ROOT_NAMES
    ]
    how = "the launcher substitutes"
    if via != "launcher":
        how = "substituted, in processes (forked ones too): " + (", ".join(aliases) or "NOTHING")
    say(f"\n{name}: {found.get('interpreters', 0)} interpreters started; {how}")
    for key, value in suite["probes"].get("sys.modules", {}).items():
        say(f"  in the test process {key} is {value}")
    left = [key.split(" ", 1)[1] for key in found if key.startswith("stdlib")]
    if left:
        say("  left to the stdlib (the subject has none): " + ", ".join(left))
    for key, number in found.items():
        if key.startswith(("refused", "early", "bridge")):
            say(f"  {key} in {number} processes")
    for line in suite["not_substituted"]:
        say("  NOT SUBSTITUTED in " + line)


def findings(name, suite, say):
    """The tests that did not pass, with the last line of what they said."""
    if suite.get("absent_modules"):
        say(f"  {name}: no such test module here: {', '.join(suite['absent_modules'])}")
    for fixture in suite["fixtures"]:
        if fixture["status"] in BAD:
            say(f"  {name}: {fixture['status']} in {fixture['id']}")
    if suite.get("env_altered"):
        say(f"  {name}: left threads or processes behind: {', '.join(suite['env_altered'])}")
    for tid, result in sorted(suite["results"].items()):
        word = result.get("verdict")
        shown = result["status"] in (*BAD, "missing") or word == "lost"
        if shown and word != "same":
            last = [line for line in result["detail"].strip().splitlines() if line.strip()][-1:] or [""]
            say(f"  {word or '':10} {result['status']:7} {tid}\n             {last[0][:160]}")


def report(doc, out=None):
    """Print the whole of a run; returns the sums."""

    def say(line):
        print(line, file=out or sys.stdout)

    say(f"python {doc['python']}   subject {doc['subject']}   via {doc['via']}")
    sums = table(doc, say)
    if doc["subject"] != "stdlib":
        say(LEGEND)
    for name, suite in doc["suites"].items():
        if "error" in suite:
            continue
        if doc["subject"] != "stdlib":
            substitution(name, suite, doc["via"], say)
        findings(name, suite, say)
    return sums
