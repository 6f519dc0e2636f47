"""Substitution: ``import threading`` gets ``manyhands.threading``, and so on, here and in Python children.

Only where it was asked for: by ``install()`` or ``python -m manyhands run``. A finder is put first on
``sys.meta_path``. It is lazy: nothing of ours is imported before a program imports one of the four modules. Python
children are reached by a start-up folder on PYTHONPATH (``_start/sitecustomize.py``); those started with ``-I`` or
``-E`` read no PYTHONPATH and stay as they are, and so does any other interpreter.
"""

from __future__ import annotations

import _thread
import importlib
import os
import sys
import types
from collections.abc import Sequence
from importlib.machinery import EXTENSION_SUFFIXES, ModuleSpec, PathFinder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["install", "installed", "uninstall"]

ROOTS = {
    "threading": "manyhands.threading",
    "queue": "manyhands.queue",
    "multiprocessing": "manyhands.multiprocessing",
    "concurrent.futures": "manyhands.futures",
}
HERE = os.path.dirname(os.path.abspath(__file__))
START = os.path.join(HERE, "_start")
VARIABLE = "MANYHANDS_INSTALLED"  # which interpreter the start-up folder is for, and where the package lies

pushed_aside: dict[str, types.ModuleType] = {}  # the standard library's modules whose names are ours now
_left: set[str] = set()  # names that the standard library kept while our module was being imported
_asking: set[tuple[int, str]] = set()  # (thread, our module) that this finder is importing
_lock = _thread.RLock()


def target_of(name: str) -> str | None:
    """Our module's name for the standard library's `name`; None where it has none."""
    for root, target in ROOTS.items():
        if name == root or name.startswith(root + "."):
            return target + name[len(root) :]
    return None


class Existing:
    """Hands out a module that is already there, untouched."""

    def __init__(self, module: types.ModuleType) -> None:
        self.module, self.spec = module, module.__spec__

    def create_module(self, spec: ModuleSpec) -> types.ModuleType:
        return self.module

    def exec_module(self, module: types.ModuleType) -> None:
        module.__spec__ = self.spec


class Finder:
    """Answers for the four modules and their submodules."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: types.ModuleType | None = None
    ) -> ModuleSpec | None:
        goal = target_of(name)
        if goal is None:
            return None
        if _initialising(goal):
            _left.add(name)
            # One that was pushed aside is not run a second time: there would be two of each of its classes.
            before = pushed_aside.get(name)
            return _stdlib_spec(name) if before is None else _existing(name, before)
        ours = _import(goal)
        _left.discard(name)
        _settle()
        if ours is None:
            return _stdlib_spec(name)
        # Whatever our import left under this name goes: the import system would otherwise run it a second time.
        old = sys.modules.pop(name, None)
        if old is not None and old is not ours:
            pushed_aside[name] = old
        return _existing(name, ours)


def _existing(name: str, module: types.ModuleType) -> ModuleSpec:
    loader: Any = Existing(module)
    return ModuleSpec(name, loader, is_package=hasattr(module, "__path__"))


def _initialising(goal: str) -> bool:
    """Is our module, or a package above it, being imported by this thread?"""
    me = _thread.get_ident()
    while goal not in ("manyhands", ""):
        if (me, goal) in _asking:
            return True
        spec = getattr(sys.modules.get(goal), "__spec__", None)
        if getattr(spec, "_initializing", False):
            lock = importlib._bootstrap._module_locks.get(goal)  # type: ignore[attr-defined]
            lock = lock and lock()
            if (
                lock is None
                or lock.owner in (None, me)
                or (isinstance(lock.owner, list) and me in lock.owner)
            ):
                return True
        goal = goal.rpartition(".")[0]
    return False


def _import(goal: str) -> types.ModuleType | None:
    """Our module, or None where we have none of that name."""
    key = (_thread.get_ident(), goal)
    if goal.endswith(".__main__"):
        return None
    _asking.add(key)
    try:
        return importlib.import_module(goal)
    except ModuleNotFoundError as error:
        if error.name is not None and (goal + ".").startswith(error.name + "."):
            return None
        raise
    finally:
        _asking.discard(key)


def standard(name: str) -> types.ModuleType:
    """The standard library's module of that name. Imported here where it is not there yet, and not by the finder: who
    asks may be half imported, and so would ours be then."""
    goal = target_of(name)
    if name in pushed_aside:
        return pushed_aside[name]
    if goal is None or not installed():
        return importlib.import_module(name)
    package, lent = name.rpartition(".")[0], None
    if target_of(package) is not None and package not in sys.modules:
        lent = sys.modules.setdefault(package, standard(package))
    key, asked = (_thread.get_ident(), goal), (_thread.get_ident(), goal) in _asking
    _asking.add(key)
    try:
        found = importlib.import_module(name)
    finally:
        if not asked:
            _asking.discard(key)
        if lent is not None and sys.modules.get(package) is lent:
            del sys.modules[package]
    _left.discard(name)
    if not getattr(found.__spec__, "_initializing", False):
        pushed_aside[name] = found
        if sys.modules.get(name) is found:  # whoever imports it next gets ours
            del sys.modules[name]
    return pushed_aside.get(name, found)


def _settle() -> None:
    """Give us the names that the standard library kept while our modules were being imported."""
    for name in sorted(_left):
        goal = target_of(name)
        if goal is None or _initialising(goal):
            continue
        _left.discard(name)
        ours = _import(goal)
        if ours is not None:
            _take(name, ours)


def _take(name: str, ours: types.ModuleType) -> None:
    old = sys.modules.get(name)
    if old is ours:
        return
    if old is not None:
        pushed_aside[name] = old
    sys.modules[name] = ours
    parent, _, child = name.rpartition(".")
    if name in ROOTS and parent in sys.modules:
        setattr(sys.modules[parent], child, ours)


def _stdlib_spec(name: str) -> ModuleSpec | None:
    folder = os.path.join(os.path.dirname(os.__file__), *name.split(".")[:-1])
    return PathFinder.find_spec(name, [folder])


def installed() -> bool:
    """True where the standard library's four modules are substituted in this process."""
    return Finder in sys.meta_path


def install(*, children: bool = True) -> None:
    """Substitute ``threading``, ``queue``, ``multiprocessing`` and ``concurrent.futures`` in this process.

    Modules that a program imports from now on get ours; a module that was imported before keeps what it had. With
    `children`, Python subprocesses of the same interpreter are substituted, too (not those started with ``-I`` or
    ``-E``). Safe to call twice and from several threads; undone by `uninstall()`.
    """
    with _lock:
        if not installed():
            sys.meta_path.insert(0, Finder)
            for name in [n for n in list(sys.modules) if n in ROOTS]:
                _adopt(name)
        if children:
            _reach_children()


def _adopt(root: str) -> None:
    """`root` was imported before: it and its submodules become ours, where we have them."""
    names = [n for n in list(sys.modules) if n == root or n.startswith(root + ".")]
    for name in sorted(names):
        goal = target_of(name)
        ours = _import(goal) if goal else None
        if ours is not None:
            _take(name, ours)
    _settle()


def uninstall() -> None:
    """Undo `install()`: from now on imports get the standard library's modules again, and children are left alone.

    What a module imported in the meantime it keeps. Does nothing where nothing is installed.
    """
    with _lock:
        if Finder in sys.meta_path:
            sys.meta_path.remove(Finder)
        for name in [n for n in list(sys.modules) if target_of(n)]:
            if name in pushed_aside:
                sys.modules[name] = pushed_aside.pop(name)
            elif sys.modules[name].__name__ != name:
                del sys.modules[name]
            parent, _, child = name.rpartition(".")
            if name in ROOTS and parent in sys.modules and name in sys.modules:
                setattr(sys.modules[parent], child, sys.modules[name])
        pushed_aside.clear()
        _forget_children()


def interpreter() -> str:
    """What identifies this interpreter: the compiled core fits no other."""
    return f"{EXTENSION_SUFFIXES[0]}|{os.path.realpath(sys.base_prefix)}"


def _reach_children() -> None:
    os.environ[VARIABLE] = f"{interpreter()}|{HERE}"
    paths = [p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p]
    if START not in paths:
        os.environ["PYTHONPATH"] = os.pathsep.join([START, *paths])


def _forget_children() -> None:
    os.environ.pop(VARIABLE, None)
    paths = [p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p and p != START]
    if paths:
        os.environ["PYTHONPATH"] = os.pathsep.join(paths)
    else:
        os.environ.pop("PYTHONPATH", None)
