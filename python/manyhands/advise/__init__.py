"""Threads or processes? Measured on the user's own function, with the reason.

`manyhands.compare` and `python -m manyhands compare` are made of these parts, in the order of use:
`target` (the function and its items), `pilot` (what the function is like), `engines` and `worker` (serial,
threads, processes), `measure` (rounds within a time box), `stats` and `verdict` (what follows), `render`.
"""

from manyhands.advise.api import Comparison, compare
from manyhands.advise.errors import BadInput, CompareError, WorkFailed

__all__ = ["BadInput", "CompareError", "Comparison", "WorkFailed", "compare"]
