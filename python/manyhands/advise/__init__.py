"""Threads or processes? Measured on your own function, with the reason.

    found = manyhands.compare(function, items)   # a `Comparison`
    print(found)                                 # tables, and the verdict in words
    if found.choice == "threads": ...            # the verdict in a word
    report = found.reports[0]                    # a `Report`: the figures behind it

``python -m manyhands compare FILE.py:FUNCTION`` does the same from the command line. What goes wrong is a
`CompareError`: a `WorkFailed` where the function raised, a `BadInput` where what was asked for cannot be done.
A comparison and all that it consists of can be pickled. Times are seconds, sizes bytes.
"""

# In the order of use: `target` (the function and its items), `pilot` (what the function is like), `engines` and
# `worker` (serial, threads, processes), `measure` (rounds within a time box), `stats` and `verdict` (what follows),
# `render`.
from manyhands.advise.api import Comparison, compare
from manyhands.advise.errors import BadInput, CompareError, WorkFailed
from manyhands.advise.model import Facts, Machine, Report, Row, Sample, Span, Verdict

__all__ = [
    "BadInput",
    "CompareError",
    "Comparison",
    "Facts",
    "Machine",
    "Report",
    "Row",
    "Sample",
    "Span",
    "Verdict",
    "WorkFailed",
    "compare",
]
