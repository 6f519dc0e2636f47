"""The only place that imports the compiled core. Facades take what they need from here.

Without the core (another system, or an interpreter that it was not built for) `available` is False, everything is the
standard library's, and that is said once per process tree.
"""

from __future__ import annotations

import contextlib
import os
import warnings
from typing import Any

__all__ = ["available", "checkpoint", "core", "shield"]

core: Any
try:
    from manyhands import _core as core  # type: ignore[attr-defined,no-redef]
except ImportError as error:
    core = None
    if not os.environ.get("MANYHANDS_NO_CORE"):
        os.environ["MANYHANDS_NO_CORE"] = "said"
        warnings.warn(
            f"manyhands runs on the standard library alone: its compiled core is not usable here ({error})",
            RuntimeWarning, stacklevel=2,
        )

available = core is not None

if available and hasattr(core, "checkpoint"):
    checkpoint = core.checkpoint
    shield = core.shield
else:

    def checkpoint() -> None:
        """Park here while a pause of the calling thread is asked for. Without the core nothing can be asked for."""

    def shield() -> Any:
        """A context in which the calling thread is neither parked nor ended. Without the core nothing does either."""
        return contextlib.nullcontext()
