"""What is ours: each public name of the four drop-in modules, compared with the standard library's object."""

from __future__ import annotations

import importlib
import types
from typing import Any, NamedTuple

from manyhands._facade import stdlib_of
from manyhands._substitute import ROOTS

__all__ = ["Row", "survey"]

# The submodules that programs import by name; the rest of multiprocessing's are its machinery.
SUBMODULES = {
    "multiprocessing": (
        "connection",
        "context",
        "managers",
        "pool",
        "process",
        "queues",
        "shared_memory",
        "sharedctypes",
        "synchronize",
    ),
    "concurrent.futures": ("thread", "process"),
}


class Row(NamedTuple):
    """One public name."""

    module: str
    name: str
    ours: bool


def survey() -> list[Row]:
    """A row for each public name, modules and names in alphabetical order within their module."""
    rows = []
    for root, target in ROOTS.items():
        for module, std_name in [
            (target, root),
            *((f"{target}.{s}", f"{root}.{s}") for s in SUBMODULES.get(root, ())),
        ]:
            rows.extend(_survey_module(module, std_name))
    return rows


def _survey_module(module: str, std_name: str) -> list[Row]:
    ours, std = importlib.import_module(module), stdlib_of(std_name)
    names = set(getattr(ours, "__all__", ())) | set(getattr(std, "__all__", ()))
    return [
        Row(module, name, _is_ours(getattr(ours, name), getattr(std, name, None)))
        for name in sorted(names)
        if hasattr(ours, name)
    ]


def _is_ours(value: Any, std_value: Any) -> bool:
    """A bound method is ours where the function behind it is; anything else where it is another object."""
    if isinstance(value, types.MethodType):
        return value.__func__.__module__.split(".")[0] == "manyhands"
    return value is not std_value
