"""What can go wrong in a comparison, as exceptions that carry the exit status they mean."""

from __future__ import annotations

from manyhands._troubles import Code


class CompareError(Exception):
    """A comparison cannot go on. The message is complete: it is printed as it is."""

    status = 1
    code = "MH-COMPARE"
    __notes__ = Code()  # pyright: ignore[reportAssignmentType]


class BadInput(CompareError):
    """What was asked for cannot be done: no such function, no items, an impossible option."""

    status = 2
    code = "MH-COMPARE-INPUT"


class WorkFailed(CompareError):
    """The user's own function failed."""

    status = 1
    code = "MH-COMPARE-WORK"


class EngineFailed(Exception):
    """One engine could not do the work; the others' results still stand."""

    code = "MH-COMPARE-ENGINE"
    __notes__ = Code()  # pyright: ignore[reportAssignmentType]
