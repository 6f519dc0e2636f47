"""Each public name of multiprocessing and its submodules, of the Python that runs this, is there in ours, and can be
called the same way."""

import importlib
import inspect
import pkgutil
import types

import manyhands
import pytest

if not manyhands.compiled():
    pytest.skip("needs the compiled core", allow_module_level=True)

import multiprocessing as std

from manyhands import multiprocessing as ours

KINDS = inspect.Parameter


def submodules():
    """Those that can be imported here."""
    found = []
    for info in pkgutil.walk_packages(std.__path__, "multiprocessing."):
        try:
            importlib.import_module(info.name)
        except ImportError:  # of another system
            continue
        found.append(info.name)
    return found


SUBMODULES = submodules()


def public(module):
    names = set(getattr(module, "__all__", ()))
    names |= {name for name in vars(module) if not name.startswith("_")}
    return sorted(names)


def own(name):
    return importlib.import_module("manyhands." + name)


def complaint(theirs, mine):
    """Why a call of `theirs` may not be one of `mine`; None where it is."""
    try:
        wanted, given = inspect.signature(theirs), inspect.signature(mine)
    except (ValueError, TypeError):
        return None  # theirs does not say
    mine_by_name = dict(given.parameters)
    takes_all = {p.kind for p in given.parameters.values()}
    if "self" in wanted.parameters:  # a function of a class; what it is called there is nothing to callers
        del mine_by_name[next(iter(mine_by_name))]
    for name, want in wanted.parameters.items():
        if name == "self":
            continue
        have = mine_by_name.pop(name, None)
        if want.kind in (KINDS.VAR_POSITIONAL, KINDS.VAR_KEYWORD):
            if want.kind not in takes_all:
                return f"takes no {want}"
        elif have is None:
            missing = KINDS.VAR_KEYWORD if want.kind is KINDS.KEYWORD_ONLY else KINDS.VAR_POSITIONAL
            if missing not in takes_all and not (name.startswith("_") or want.kind is KINDS.POSITIONAL_ONLY):
                return f"has no {name}"
        elif have.kind is not want.kind and have.kind is not KINDS.POSITIONAL_OR_KEYWORD:
            return f"{name} is {have.kind.description}, not {want.kind.description}"
        elif want.default is not KINDS.empty and have.default is KINDS.empty:
            return f"{name} has no default"
    for name, more in mine_by_name.items():
        if more.default is KINDS.empty and more.kind not in (KINDS.VAR_POSITIONAL, KINDS.VAR_KEYWORD):
            return f"wants {name}"
    return None


def complaints(where, theirs, mine):
    if mine is theirs or isinstance(theirs, types.ModuleType):
        return
    if inspect.isclass(theirs):
        if not inspect.isclass(mine):
            yield f"{where} is no class"
            return
        yield from complaints(where + "()", theirs.__init__, mine.__init__)
        for name in vars(theirs):
            if not name.startswith("_") and callable(getattr(theirs, name)):
                held = getattr(mine, name, None)
                if held is None and name in instance_names(mine):
                    continue  # given to each instance
                if held is None:
                    yield f"{where}.{name} is missing"
                else:
                    yield from complaints(f"{where}.{name}", getattr(theirs, name), held)
    elif callable(theirs):
        if not callable(mine):
            yield f"{where} cannot be called"
        elif why := complaint(theirs, mine):
            yield f"{where} {why}"


def instance_names(kind):
    return set(getattr(kind, "__annotations__", ())) | {
        n for b in kind.__mro__ for n in getattr(b, "__annotations__", ())
    }


def test_every_submodule_is_there():
    assert {"multiprocessing.pool", "multiprocessing.dummy.connection", "multiprocessing.popen_fork"} <= set(
        SUBMODULES
    )
    for name in SUBMODULES:
        module = own(name)
        assert module.__name__ == "manyhands." + name or module is importlib.import_module(name)
        assert getattr(own(name.rpartition(".")[0]), name.rpartition(".")[2]) is module


@pytest.mark.parametrize("name", ["multiprocessing", *SUBMODULES])
def test_every_public_name_is_there(name):
    theirs, mine = importlib.import_module(name), own(name)
    missing = [n for n in public(theirs) if not hasattr(mine, n)]
    assert not missing
    assert set(getattr(theirs, "__all__", ())) <= set(getattr(mine, "__all__", public(mine)))
    assert set(public(theirs)) <= set(dir(mine))
    exported: dict = {}
    exec(f"from manyhands.{name} import *", exported)
    assert set(getattr(theirs, "__all__", ())) <= set(exported)


@pytest.mark.parametrize("name", ["multiprocessing", *SUBMODULES])
def test_every_public_name_is_called_the_same_way(name):
    theirs, mine = importlib.import_module(name), own(name)
    told = [c for n in public(theirs) for c in complaints(n, getattr(theirs, n), getattr(mine, n))]
    assert not told


def test_a_missing_parameter_is_noticed():
    def theirs(a, b=1, *, c=2): ...

    for worse in (
        lambda a: 0,
        lambda a, b=1: 0,
        lambda a, b, *, c=2: 0,
        lambda a, b=1, *, c=2, d: 0,
        lambda b, a=1, *, x=2: 0,
    ):
        assert complaint(theirs, worse)
    assert complaint(theirs, lambda a, b=1, *, c=2, cancel=None: 0) is None


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_contexts(method):
    theirs, mine = std.get_context(method), ours.get_context(method)
    assert isinstance(mine, type(theirs)) and isinstance(mine, std.context.BaseContext)
    told = []
    for name in dir(theirs):
        if not name.startswith("_"):
            assert hasattr(mine, name)
            told += complaints(name, getattr(theirs, name), getattr(mine, name))
    assert not told
    assert issubclass(mine.Process, theirs.Process)
    assert issubclass(mine.TimeoutError, std.ProcessError) and mine.TimeoutError is std.TimeoutError


@pytest.mark.parametrize(
    "make",
    [
        "Lock",
        "RLock",
        "Semaphore",
        "BoundedSemaphore",
        "Condition",
        "Event",
        "Queue",
        "JoinableQueue",
        "SimpleQueue",
    ],
)
def test_objects_have_what_the_standard_librarys_have(make):
    theirs, mine = getattr(std, make)(), getattr(ours, make)()
    told = []
    for name in dir(theirs):
        if not name.startswith("_"):
            assert hasattr(mine, name), name
            told += complaints(name, getattr(theirs, name), getattr(mine, name))
    assert not told


def test_ends_of_a_pipe_have_what_the_standard_librarys_have():
    (theirs, _), (mine, _) = std.Pipe(), ours.Pipe()
    told = []
    for name in dir(theirs):
        if not name.startswith("_"):
            assert hasattr(mine, name), name
            told += complaints(name, getattr(theirs, name), getattr(mine, name))
    assert not told


def test_what_a_subclass_overrides_is_called():
    calls = []

    class Event(ours.synchronize.Event):
        def set(self):
            calls.append("set")
            super().set()

        def wait(self, timeout=None):
            calls.append("wait")
            return super().wait(timeout)

    class Barrier(ours.synchronize.Barrier):
        def wait(self, timeout=None):
            calls.append("barrier")
            return super().wait(timeout)

    event = Event(ctx=ours.get_context())
    event.set()
    assert event.wait(0) and event.is_set()
    assert Barrier(1, ctx=ours.get_context()).wait() == 0
    assert calls == ["set", "wait", "barrier"]
    assert ours.Event().set.__self__ is not event  # the plain one: the core's own method
