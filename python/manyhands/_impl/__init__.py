"""The only place that imports the compiled core. Facades take what they need from here.

Without the core (another system, or an interpreter that it was not built for) `available` is False, everything is the
standard library's, and that is said once per process tree.
"""

from __future__ import annotations

import contextlib
import os
import warnings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from typing import Any

__all__ = ["CancelToken", "available", "checkpoint", "core", "set_module", "shield", "strict"]

core: Any
try:
    from manyhands import _core as core
except ImportError as error:
    core = None
    if not os.environ.get("MANYHANDS_NO_CORE"):
        os.environ["MANYHANDS_NO_CORE"] = "said"
        warnings.warn(
            f"manyhands runs on the standard library alone: its compiled core is not usable here ({error})",
            RuntimeWarning,
            stacklevel=2,
        )

available = core is not None
strict = os.environ.get("MANYHANDS_COMPAT") == "strict"


homes: dict[Any, str] = {}  # in strict mode: where a program that imports us by our own names finds them


def set_module(std_name: str, ours: str, *objects: Any) -> None:
    """Where the objects say that they live: in our module, so that they pickle by name, or, if strict compatibility
    is asked for, in the standard library's, whose tests look there."""
    for thing in objects:
        thing.__module__ = std_name if strict else ours
        if strict:
            homes[thing] = ours


if available and hasattr(core, "checkpoint"):
    from manyhands._core import CancelToken as CancelToken

    checkpoint = core.checkpoint
    shield = core.shield
else:
    from manyhands._impl.no_core import CancelToken as CancelToken  # type: ignore[assignment]

    def checkpoint() -> None:
        """Park here while a pause of the calling thread is asked for. Without the core nothing can be asked for."""

    def shield() -> AbstractContextManager[None]:
        """A context in which the calling thread is neither parked nor ended. Without the core nothing does either."""
        return contextlib.nullcontext()
