"""Modules that have some names of their own and are the standard library's otherwise.

Reads of other names go to the standard library's module, and so do writes: ``threading.excepthook = f`` must reach
the code that looks the hook up there.
"""

from __future__ import annotations

import importlib
import sys
import types

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["alias", "facade", "stdlib_of"]


class Facade(types.ModuleType):
    """A module in front of another; see the top of this file."""

    _std: types.ModuleType
    _returned: dict[str, str]

    def __getattr__(self, name: str) -> Any:
        std, classes = self.__dict__["_std"], self.__dict__["_returned"]
        if name in classes:
            return getattr(importlib.import_module(classes[name]), name)
        try:
            value = getattr(std, name)
        except AttributeError:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}") from None
        if isinstance(value, types.ModuleType) and value.__name__ == f"{std.__name__}.{name}":
            return self._submodule(name, value)
        return value

    def _submodule(self, name: str, value: types.ModuleType) -> types.ModuleType:
        """Our submodule of that name, also where it was not imported yet; else the standard library's `value`."""
        try:
            return importlib.import_module(f"{self.__name__}.{name}")
        except ImportError:
            return value

    def __setattr__(self, name: str, value: Any) -> None:
        own = name in self.__dict__ or (name.startswith("__") and name.endswith("__"))
        # A submodule that the import system binds to its package is this package's, not the standard library's.
        if own or f"{self.__name__}.{name}" in sys.modules:
            super().__setattr__(name, value)
        else:
            setattr(self.__dict__["_std"], name, value)

    def __delattr__(self, name: str) -> None:
        if name in self.__dict__:
            super().__delattr__(name)
        else:
            delattr(self.__dict__["_std"], name)

    def __dir__(self) -> list[str]:
        return sorted(set(self.__dict__) | set(dir(self.__dict__["_std"])))


def facade(
    name: str, std: types.ModuleType, extra: tuple[str, ...] = (), returned: dict[str, str] | None = None
) -> None:
    """Make the module `name`, which is being imported, a facade before `std`.

    `extra`: public names of its own. `returned`: classes of what its calls return, and the modules that have them,
    which are imported only when somebody asks. These are public, but not in ``__all__``: ``import *`` is for programs
    that know the standard library alone, and may have an `Options` or a `View` of their own.
    """
    module = sys.modules[name]
    classes = returned or {}
    module.__dict__.update(_std=std, _returned=classes)
    module.__dict__.update({n: getattr(sys.modules[at], n) for n, at in classes.items() if at in sys.modules})
    module.__dict__.pop("TYPE_CHECKING", None)  # no public name
    public = list(getattr(std, "__all__", ()))
    if public or extra:
        module.__dict__["__all__"] = public + [n for n in extra if n not in public]
    module.__class__ = Facade


def alias(name: str, std_name: str) -> None:
    """Make the module `name`, which is being imported, the standard library's `std_name` itself."""
    sys.modules[name] = stdlib_of(std_name)


def stdlib_of(std_name: str) -> types.ModuleType:
    """The standard library's module, also where that name is substituted in this process."""
    from manyhands import _substitute

    return _substitute.standard(std_name)
