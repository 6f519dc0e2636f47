"""Who annotates code can name what public calls take and return: each class of ours there has a public name."""

from __future__ import annotations

import ast
import builtins
import importlib
import inspect
import pickle
import pkgutil
import subprocess
import sys
import types
from collections.abc import Iterator
from contextlib import AbstractContextManager
from functools import cache
from pathlib import Path
from typing import Any

import manyhands
import pytest

if not manyhands.compiled():
    pytest.skip("needs the compiled core", allow_module_level=True)

from manyhands import _core

SPECIAL = ("__init__", "__new__", "__call__", "__enter__", "__iter__", "__next__", "__aenter__", "__aiter__")
NOT_FOR_USERS = ("cli", "advise")  # below these: the command line, and the parts of a comparison


def modules() -> dict[str, types.ModuleType]:
    names = ["manyhands"]
    for info in pkgutil.walk_packages(manyhands.__path__, "manyhands."):
        parts = info.name.split(".")[1:]
        if not any(part.startswith("_") for part in parts) and (
            parts[0] not in NOT_FOR_USERS or parts == ["advise"]
        ):
            names.append(info.name)
    return {name: importlib.import_module(name) for name in names if "win32" not in name}


MODULES = modules()


def public(module: types.ModuleType) -> Iterator[tuple[str, Any]]:
    """Those of `__all__`, what calls return, and where there is no `__all__` all that begin with no `_`."""
    names = [*getattr(module, "__all__", ()), *getattr(module, "_returned", ())]
    for name in names or [name for name in vars(module) if not name.startswith("_")]:
        yield name, getattr(module, name)


NAMED = {id(value) for module in MODULES.values() for _, value in public(module) if inspect.isclass(value)}

RETURNED = {
    id(getattr(module, name)) for module in MODULES.values() for name in getattr(module, "_returned", ())
}


@cache
def imports(place: str) -> dict[str, tuple[str, str]]:
    """What the text of a module imports by name, also where only a type checker does."""
    tree = ast.parse(Path(sys.modules[place].__file__ or "").read_text())
    return {
        alias.asname or alias.name: (node.module or "", alias.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def meant(name: str, place: str) -> Any:
    """What a name in an annotation of that module means."""
    if name in imports(place):
        module, of_it = imports(place)[name]
        return getattr(importlib.import_module(module), of_it, None)
    return getattr(sys.modules[place], name, getattr(builtins, name, None))


def classes_in(annotation: Any, place: str) -> Iterator[tuple[str, Any]]:
    if not isinstance(annotation, str):
        yield str(annotation), annotation
        return
    for node in ast.walk(ast.parse(annotation, mode="eval")):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            yield ast.unparse(node), getattr(meant(node.value.id, place), node.attr, None)
        elif isinstance(node, ast.Name):
            yield node.id, meant(node.id, place)


def functions(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if not inspect.isclass(value):
        yield name, value
        return
    for cls in value.__mro__:
        for of_it, member in vars(cls).items():
            if cls.__module__.startswith("manyhands") and (not of_it.startswith("_") or of_it in SPECIAL):
                yield f"{name}.{of_it}", getattr(member, "fget", None) or getattr(member, "__func__", member)


def annotations(name: str, value: Any) -> Iterator[tuple[str, Any, str]]:
    """Where, what it says, and in the words of which module."""
    if inspect.isclass(value) and value.__module__.startswith("manyhands"):
        made = vars(value).get("__init__")  # a class may say that it lives in a public module
        place = getattr(made, "__globals__", {}).get("__name__", value.__module__)
        for field, said in vars(value).get("__annotations__", {}).items():
            if not field.startswith("_"):
                yield f"{name}.{field}", said, place
    for where, function in functions(name, value):
        function = inspect.unwrap(getattr(function, "__func__", function))
        place = getattr(function, "__globals__", {}).get("__name__", "")
        if place.startswith("manyhands"):
            yield from ((where, said, place) for said in function.__annotations__.values())


def unnamed(name: str, value: Any) -> list[str]:
    made_by_calls = {f"{name}.__init__"} if id(value) in RETURNED else set()  # nobody makes one by its name
    return [
        f"{where}: {said}"
        for where, annotation, place in annotations(name, value)
        if where not in made_by_calls
        for said, cls in classes_in(annotation, place)
        if inspect.isclass(cls) and cls.__module__.startswith("manyhands") and id(cls) not in NAMED
    ]


@pytest.mark.parametrize("module", MODULES.values(), ids=list(MODULES))
def test_what_public_calls_say_that_they_take_and_return_has_a_public_name(module: types.ModuleType) -> None:
    missing = [one for name, value in public(module) for one in unnamed(f"{module.__name__}.{name}", value)]
    assert not missing, f"give them a public name (`returned` of facade(), __all__, or _LAZY): {missing}"


def test_a_class_without_a_public_name_is_noticed() -> None:
    from manyhands.futures._engine import Engine, OverEngine

    assert id(Engine) not in NAMED
    assert unnamed("Engine", Engine.dispatch) == []  # it takes a Future, which has one
    assert unnamed("x", OverEngine._attach) == ["x: Engine"]
    assert [said for _, said, _ in annotations("Comparison", manyhands.advise.Comparison)][:1] == [
        "list[Report]"
    ]


def test_what_the_stub_of_the_core_says_has_a_public_name() -> None:
    tree = ast.parse((Path(inspect.getfile(manyhands)).parent / "_core.pyi").read_text())
    wanted = ("shield", "checkpoint", "is_shared", "block")
    found = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name in wanted]
    for cls in tree.body:
        if isinstance(cls, ast.ClassDef) and id(getattr(_core, cls.name)) in NAMED:
            found += [f for f in cls.body if isinstance(f, ast.FunctionDef) and not f.name.startswith("_")]
    assert len(found) > 50
    for function in found:
        said = [
            a.annotation for a in (*function.args.args, *function.args.kwonlyargs) if a.annotation is not None
        ]
        for node in (n for a in (*said, function.returns) if a is not None for n in ast.walk(a)):
            cls = getattr(_core, node.id, None) if isinstance(node, ast.Name) else None
            assert not inspect.isclass(cls) or id(cls) in NAMED, (function.name, node)


def work(x: int) -> int:
    return x


def test_what_is_really_returned_has_a_public_name() -> None:
    from manyhands import futures, multiprocessing, shared, threading

    def has_a_name(thing: object) -> bool:
        """Its class, or the nearest above it that is not private."""
        above = (c for c in type(thing).__mro__ if id(c) in NAMED or not c.__module__.startswith("manyhands"))
        return next(above) is not object

    with manyhands.Executor("threads", max_workers=1) as executor:
        view = executor.options(backoff=0.1)
        results = view.map(work, [1])
        found = [executor.submit(work, 1), view, view.options(retries=1), results, executor.map(work, [1])]
        assert list(results) == [1]
        found += [executor.statistics(), *executor.statistics().workers]
        assert isinstance(view, futures.View) and isinstance(results, futures.Results)
    with manyhands.observe() as seen:
        while seen.total() is None:
            pass
    found += [seen, seen.total(), *seen.threads]
    thread = threading.Thread(target=work, args=(1,))
    thread.start()
    thread.join()
    found += [
        thread,
        thread.state,
        thread.outcome,
        threading.RWLock(),
        manyhands.CancelToken(),
    ]
    found += [
        shared.block(1),
        multiprocessing.get_context("spawn"),
        *multiprocessing.Pipe(),
        multiprocessing.Queue(),
    ]
    found += [getattr(multiprocessing, name)() for name in ("Lock", "RLock", "RWLock", "Event", "Condition")]
    found += [threading.RWLock().read, multiprocessing.RWLock().write]
    with multiprocessing.forward_logging() as forwarding:
        found.append(forwarding)
    with multiprocessing.get_context("fork").Pool(1) as pool:
        found += [pool, pool.apply_async(work, (1,)), pool.map_async(work, [1]), pool.imap(work, [1])]
    assert [thing for thing in found if not has_a_name(thing)] == []
    assert isinstance(manyhands.shield(), AbstractContextManager)  # that is what it is called


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_they_travel_between_processes(method: str) -> None:
    from manyhands import futures, multiprocessing
    from manyhands.advise import Comparison, Machine, Report, Verdict

    machine = Machine(2, "a cpu", None, "a system", "3.99", True, "manyhands")
    things = [
        futures.Options(timeout=2, retries=1, retry_on=(ValueError,)),
        futures.Statistics([futures.WorkerFigures("one", tasks=3)]),
        manyhands.ThreadTimes("one", 1, 2, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 10),
        Comparison(
            [Report("work", "2 items", machine, verdict=Verdict("serial", None, "Stay serial.", "Why not."))]
        ),
    ]
    with multiprocessing.get_context(method).Pool(1) as pool:
        assert pool.map(work, things) == things
    assert pickle.loads(pickle.dumps(things)) == things


def test_names_are_public_where_the_classes_say() -> None:
    from manyhands import futures, multiprocessing, threading

    for module in (futures, multiprocessing, threading):
        for name in module._returned:
            cls = getattr(module, name)
            assert (cls.__module__, cls.__name__) == (module.__name__, name)
            assert name not in module.__all__ and name not in vars(module._std)
    for cls in (manyhands.Observation, manyhands.ThreadTimes):
        assert cls.__module__ == "manyhands" and cls.__name__ in manyhands.__all__


def test_to_import_manyhands_imports_nothing_for_them() -> None:
    code = "import sys, manyhands; print(*(n for n in sys.modules if n.startswith('manyhands')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert sorted(done.stdout.split()) == [
        "manyhands",
        "manyhands._substitute",
        "manyhands._troubles",
        "manyhands.errors",
    ]
    code = "import sys, manyhands.multiprocessing; assert 'logging.handlers' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
