"""What can go wrong in a comparison, as exceptions that carry the exit status they mean."""

from __future__ import annotations


class CompareError(Exception):
    """A comparison cannot go on. The message is complete: it is printed as it is."""

    status = 1


class BadInput(CompareError):
    """What was asked for cannot be done: no such function, no items, an impossible option."""

    status = 2


class WorkFailed(CompareError):
    """The user's own function failed."""

    status = 1


class EngineFailed(Exception):
    """One engine could not do the work; the others' results still stand."""
