"""The substitution by the runner: `site` imports this in each interpreter of the environment and its children.

A `.pth` file of the throw-away environment does that, since `site` runs for children started with `-I` or `-E`
as well, where most subprocess tests of test_threading are; PYTHONPATH would miss them. A finder comes first on
sys.meta_path: `import threading` imports the subject's module and puts that very object into sys.modules. It is lazy;
while the subject's module is itself being imported the name gets the standard library's module. A submodule that the
subject does not have falls through to the standard library's file, and is reported.

It stays small and imports nothing that imports threading. Its settings are a module that the runner writes beside it.
"""

import _frozen_importlib
import _thread
import os
import sys
from _frozen_importlib import ModuleSpec
from _frozen_importlib_external import PathFinder
from importlib import import_module

from conformance_settings import BORROW, SUBJECT, TRACE

STDLIB = os.path.dirname(os.__file__)
ModuleType = type(sys)
ROOTS = {}
if SUBJECT:
    ROOTS = {
        "threading": SUBJECT + ".threading",
        "queue": SUBJECT + ".queue",
        "multiprocessing": SUBJECT + ".multiprocessing",
        "concurrent.futures": SUBJECT + ".futures",
    }
stdlib = {}  # the stdlib modules that were pushed aside
_passed = set()  # names given to the stdlib while initialising
_asking = set()  # (thread, subject module) counterpart() asks for


def trace(*fields):
    try:
        fd = os.open(TRACE, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    except OSError:
        return
    try:
        os.write(fd, ("\t".join(map(str, (os.getpid(), *fields))) + "\n").encode("utf-8", "replace"))
    finally:
        os.close(fd)


def target_of(name):
    for root, target in ROOTS.items():
        if name == root or name.startswith(root + "."):
            return target + name[len(root) :]
    return None


def busy():
    return any(t == _thread.get_ident() for t, _ in list(_asking))


def initialising(modname):
    """Is modname or a package above it being imported, by this thread?"""
    while modname:
        spec = getattr(sys.modules.get(modname), "__spec__", None)
        if getattr(spec, "_initializing", False):
            lock = _frozen_importlib._module_locks.get(modname)
            lock = lock and lock()
            if lock is None or lock.owner in (None, _thread.get_ident()):
                return True
        modname = modname.rpartition(".")[0]
    return False


def counterpart(name):
    """The subject's module for `name`, or None if it has none."""
    target = target_of(name)
    key = _thread.get_ident(), target
    if name.endswith(".__main__") or key in _asking:
        return None
    _asking.add(key)
    try:
        return import_module(target)
    except ModuleNotFoundError as e:
        if e.name is not None and (target + ".").startswith(e.name + "."):
            # Not a file of its own; perhaps a C module's attribute.
            parent, _, child = target.rpartition(".")
            m = getattr(sys.modules.get(parent), child, None)
            return m if isinstance(m, ModuleType) else None
        raise
    except ImportError as e:
        # A C extension that refuses to load in a subinterpreter.
        trace("refused", name, e)
        return None
    finally:
        _asking.discard(key)


def settle():
    """Names that went to the stdlib while the subject was initialising."""
    for name in sorted(_passed):
        if initialising(target_of(name)):
            continue
        _passed.discard(name)
        m = counterpart(name)
        old = sys.modules.get(name)
        if m is None:
            trace("stdlib", name)
        elif m is not old:
            if old is not None:
                stdlib[name] = old
            sys.modules[name] = m
            parent, _, child = name.rpartition(".")
            if parent in sys.modules and name in ROOTS:
                setattr(sys.modules[parent], child, m)
            trace("alias", name, m.__name__)


class Existing:
    """Loader that hands out a module that is already there, untouched."""

    def __init__(self, module):
        self.module, self.spec = module, getattr(module, "__spec__", None)

    def create_module(self, spec):
        return self.module

    def exec_module(self, module):
        module.__spec__ = self.spec


class Finder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        # Note: if a finder leaves `name` in sys.modules, the import system
        # ignores the finder's answer and runs the module found there a second
        # time; hence the pops.
        if name == SUBJECT and not busy():
            # Somebody imports the subject before any substituted module.
            counterpart("threading")
            settle()
            return existing(name, sys.modules.pop(name, None))
        goal = target_of(name)
        if goal is None:
            if _passed and not busy():
                settle()
            return None
        if initialising(goal):
            _passed.add(name)
            return stdlib_spec(name)
        m = counterpart(name)
        _passed.discard(name)
        if not busy():
            settle()
        old = sys.modules.pop(name, None)
        if m is None:
            trace("stdlib", name)
            return existing(name, old) or stdlib_spec(name)
        if old is not None and old is not m:
            stdlib[name] = old
        trace("alias", name, m.__name__)
        return existing(name, m)


def existing(name, m):
    return m and ModuleSpec(name, Existing(m), is_package=hasattr(m, "__path__"))


def stdlib_spec(name):
    folder = os.path.join(STDLIB, *name.split(".")[:-1])
    return PathFinder.find_spec(name, [folder])


class BridgeFinder:
    """SUBJ.multiprocessing.spawn, if the subject has none: the stdlib's.

    `from . import spawn` in the stdlib's own submodules, and `from
    multiprocessing import shared_memory` in programs, look the submodule up
    under the __name__ of the module object they find, which is the subject's.
    A finished subject needs no bridge; each use is reported.
    """

    @staticmethod
    def find_spec(name, path=None, target=None):
        if (_thread.get_ident(), name) in _asking or not name.startswith(SUBJECT + "."):
            return None
        for root, goal in ROOTS.items():
            if name.startswith(goal + "."):
                alias = root + name[len(goal) :]
                try:
                    m = import_module(alias)
                except ModuleNotFoundError:
                    return None
                trace("bridge", alias)
                return existing(name, m)
        return None


class BorrowFinder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.startswith("test.") and name.count(".") == 1:
            return PathFinder.find_spec(name, BORROW)
        return None


if ROOTS:
    sys.meta_path.insert(0, Finder)
    sys.meta_path.append(BridgeFinder)
    for _name in [n for n in sys.modules if target_of(n)]:
        trace("early", _name)  # imported before the hook could act
sys.meta_path.append(BorrowFinder)
trace("start", " ".join(getattr(sys, "orig_argv", []))[:200].replace("\n", " "))
