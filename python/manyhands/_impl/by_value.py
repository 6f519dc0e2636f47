"""Functions and classes that another process cannot find by name: they travel by value, where cloudpickle is installed.

That is what has no name (lambdas, functions of functions), and what lies in a ``__main__`` that no child can import: a
notebook's, an interactive session's, that of ``python -c``.
"""

from __future__ import annotations

import contextlib
import importlib
import pickle
import sys
import types
from collections.abc import Iterator

from manyhands._facade import stdlib_of
from manyhands._impl import homes, strict
from manyhands._troubles import coded

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["ByValuePickler", "main_is_found", "needs_value", "without_false_main"]

HINT = "Functions and classes without a name of their own can be sent once cloudpickle is installed."


def main_is_found() -> bool:
    """Can a new process import this program's ``__main__`` again? ``<stdin>`` is no file."""
    main = sys.modules.get("__main__")
    spec, file = getattr(main, "__spec__", None), getattr(main, "__file__", None)
    if getattr(spec, "name", None) is not None:
        return True
    return isinstance(file, str) and not (file.startswith("<") and file.endswith(">"))


@contextlib.contextmanager
def without_false_main() -> Iterator[None]:
    """Hide the ``__file__`` of a ``__main__`` that is no file, for which a child would look."""
    main: Any = sys.modules.get("__main__")
    if main is None or main_is_found() or "__file__" not in vars(main):
        yield
        return
    file = vars(main).pop("__file__")
    try:
        yield
    finally:
        main.__file__ = file


def _module(name: str) -> types.ModuleType | None:
    """As pickle finds it: imported now where nobody did yet."""
    try:
        __import__(name)
    except Exception:
        return None
    return sys.modules.get(name)


def needs_value(thing: Any) -> bool:
    """Is it a function or class that another process would not find by its module and name?"""
    module = getattr(thing, "__module__", None)
    if module == "__main__" and not main_is_found():
        return True
    found: Any = _module(module) if isinstance(module, str) else None
    for part in thing.__qualname__.split("."):
        found = getattr(found, part, None)
    return found is not thing


def _from_home(module: str, name: str) -> Any:
    return getattr(importlib.import_module(module), name)


class ByValuePickler(stdlib_of("multiprocessing.reduction").ForkingPickler):  # type: ignore[misc]
    """The standard library's pickler for processes, and by value what cannot be found by name.

    In strict mode nothing goes by value; but our own classes, which then say that they live in the standard library,
    are found in a program that substitutes nothing, too.
    """

    def reducer_override(self, obj: Any) -> Any:
        """What pickle asks first for a function, a class or an instance."""
        if not isinstance(obj, (types.FunctionType, type)) or not needs_value(obj):
            return NotImplemented
        if strict:
            return (_from_home, (homes[obj], obj.__qualname__)) if obj in homes else NotImplemented
        try:
            import cloudpickle  # type: ignore[import-untyped]
        except ImportError:
            error = pickle.PicklingError(f"{obj!r} cannot be found by name in another process. {HINT}")
            raise coded(error, "MH-BY-NAME") from None
        return cloudpickle.loads, (cloudpickle.dumps(obj, 5),)
