"""What is to be compared: the function, how it reaches a worker process, and the items."""

from __future__ import annotations

import builtins
import dataclasses
import functools
import glob
import hashlib
import importlib
import importlib.util
import pickle
import sys
import types
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from manyhands._troubles import coded
from manyhands.advise.errors import BadInput

LOCK_TYPES = ("lock", "Lock", "RLock", "Condition", "Semaphore", "BoundedSemaphore")


@dataclasses.dataclass(frozen=True)
class Payload:
    """How a worker gets the function. Only strings and bytes: it pickles under every start method."""

    how: str
    """"file" (path, module, function), "module" (module, function) or "pickle" (what `data` holds)."""
    path: str = ""
    module: str = ""
    name: str = ""
    data: bytes = b""

    def load(self) -> Callable[[Any], Any]:
        """The function, in whatever process this runs."""
        if self.how == "file":
            module = load_file(Path(self.path), self.module)
        elif self.how == "module":
            module = importlib.import_module(self.module)
        else:
            function: Callable[[Any], Any] = pickle.loads(self.data)
            return function
        return _walk(module, self.name)


@dataclasses.dataclass(frozen=True)
class Target:
    """A function that is ready to be compared."""

    name: str
    function: Callable[[Any], Any]
    payload: Payload | None
    """None if the function cannot travel to another process; `travel_error` then says why."""
    travel_error: str = ""


def _walk(module: types.ModuleType, name: str) -> Callable[[Any], Any]:
    value: Any = module
    for part in name.split("."):
        value = getattr(value, part)
    function: Callable[[Any], Any] = value
    return function


def parse_target(text: str) -> Target:
    """`FILE.py:FUNCTION` or `MODULE:FUNCTION`, loaded."""
    place, colon, name = text.rpartition(":")
    if not colon or not place or not name:
        raise BadInput(f"'{text}' names no function: write FILE.py:FUNCTION or MODULE:FUNCTION")
    if place.endswith(".py") or "/" in place:
        path = Path(place)
        if not path.is_file():
            raise BadInput(f"there is no file '{place}'")
        module_name = _module_name(path.resolve())
        payload = Payload("file", path=str(path.resolve()), module=module_name, name=name)
        module = _run_import(place, lambda: load_file(path.resolve(), module_name))
    else:
        if "" not in sys.path and str(Path.cwd()) not in sys.path:
            sys.path.insert(0, str(Path.cwd()))
        if not _module_exists(place):
            raise BadInput(f"there is no module '{place}'")
        payload = Payload("module", module=place, name=name)
        module = _run_import(place, lambda: importlib.import_module(place))
    try:
        function = _walk(module, name)
    except AttributeError:
        raise BadInput(f"'{place}' has no function '{name}'{_suggest(module, name)}") from None
    if not callable(function):
        raise BadInput(f"'{name}' in '{place}' is no function but a {type(function).__name__}")
    return Target(name, function, payload)


def _suggest(module: types.ModuleType, name: str) -> str:
    import difflib

    own = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
    close = difflib.get_close_matches(name, own, n=1)
    if close:
        return f"; did you mean '{close[0]}'?"
    here = [key for key in own if getattr(vars(module)[key], "__module__", "") == module.__name__]
    return f"; it has {', '.join(sorted(here)[:8])}" if here else ""


def _module_exists(name: str) -> bool:
    if name in sys.modules:
        return True
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError, AttributeError):
        return False


def _run_import(place: str, load: Callable[[], types.ModuleType]) -> types.ModuleType:
    """Import the user's module; what it raises is the user's to see, in one message."""
    try:
        return load()
    except (Exception, SystemExit) as error:
        import traceback

        frames = traceback.extract_tb(error.__traceback__)
        where = f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""
        if isinstance(error, SyntaxError) and error.filename:
            where = f" ({error.filename}, line {error.lineno})"
        raise BadInput(f"'{place}' cannot be imported: {type(error).__name__}: {error}{where}") from error


def _module_name(path: Path) -> str:
    """The name a file is imported under: its own if nobody else has it, so that its classes pickle."""
    stem = path.stem
    if stem.isidentifier() and stem not in sys.stdlib_module_names and stem not in sys.modules:
        try:
            spec = importlib.util.find_spec(stem)
        except (ImportError, ValueError):
            spec = None
        if spec is None or (spec.origin is not None and Path(spec.origin).resolve() == path):
            return stem
    return f"_compared_{hashlib.blake2b(str(path).encode(), digest_size=6).hexdigest()}"


def load_file(path: Path, name: str) -> types.ModuleType:
    """Import a file under a module name, the same in every process; its folder joins `sys.path`."""
    known = sys.modules.get(name)
    if known is not None and getattr(known, "__file__", None) == str(path):
        return known
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise BadInput(f"'{path}' is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    return module


def from_function(function: Callable[[Any], Any]) -> Target:
    """A function object, as `manyhands.compare` gets it: by name where that works, else by value."""
    if not callable(function):
        raise coded(
            TypeError(f"the function to compare must be callable, not {type(function).__name__}"),
            "MH-ARGUMENT",
        )
    name = getattr(function, "__name__", type(function).__name__)
    if getattr(function, "__module__", "__main__") != "__main__":
        try:
            return Target(name, function, Payload("pickle", data=pickle.dumps(function)))
        except Exception:  # a lambda, a closure, an object with a lock in it: by value, below
            pass
    try:
        cloudpickle: Any = importlib.import_module("cloudpickle")
    except ImportError:
        return _plain_pickle(name, function)
    try:
        return Target(name, function, Payload("pickle", data=cloudpickle.dumps(function)))
    except Exception as error:
        return Target(name, function, None, f"{type(error).__name__}: {error}")


def _plain_pickle(name: str, function: Callable[[Any], Any]) -> Target:
    try:
        return Target(name, function, Payload("pickle", data=pickle.dumps(function)))
    except Exception as error:
        hint = f"{type(error).__name__}: {error} (with cloudpickle installed, functions travel by value)"
        return Target(name, function, None, hint)


def locks_used(function: Callable[..., Any]) -> tuple[str, ...]:
    """Names of locks that the function's own code mentions: globals, closure variables, attributes."""
    while isinstance(function, functools.partial):
        function = function.func
    code = getattr(function, "__code__", None)
    if code is None:
        return ()
    space = dict(vars(builtins))
    space.update(getattr(function, "__globals__", {}))
    names = set(code.co_names)
    for constant in code.co_consts:  # inner functions and comprehensions
        if isinstance(constant, types.CodeType):
            names.update(constant.co_names)
    found = {name for name in names if _is_lock(space.get(name))}
    cells = getattr(function, "__closure__", None) or ()
    for name, cell in zip(code.co_freevars, cells, strict=True):
        try:
            value = cell.cell_contents
        except ValueError:
            continue
        if _is_lock(value):
            found.add(name)
    return tuple(sorted(found))


def _is_lock(value: Any) -> bool:
    return type(value).__name__ in LOCK_TYPES and hasattr(value, "acquire") and hasattr(value, "release")


def parse_items(text: str | None) -> Sequence[Any]:
    """`--items`: a number N -> 0..N-1, `@FILE` -> its lines, anything else a glob of paths."""
    if text is None:
        raise BadInput("say what to call it with: --items 'data/*', --items @list.txt or --items 100")
    if text.lstrip("+-").isdigit():
        count = int(text)
        if count <= 0:
            raise BadInput(f"--items {text}: there is nothing to do for {count} items")
        return range(count)
    if text.startswith("@"):
        return _lines(text[1:])
    paths = sorted(glob.glob(text, recursive=True))
    if not paths:
        raise BadInput(f"--items '{text}' matches no file")
    return paths


def _lines(name: str) -> list[str]:
    try:
        lines = [line for line in Path(name).read_text().splitlines() if line.strip()]
    except OSError as error:
        raise BadInput(f"--items @{name}: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise BadInput(f"--items @{name}: not a text file ({error.reason})") from None
    if not lines:
        raise BadInput(f"--items @{name}: the file has no lines")
    return lines


def as_items(items: Iterable[Any] | int) -> Sequence[Any]:
    """Items as `manyhands.compare` gets them: any iterable, or a number."""
    if isinstance(items, bool):
        raise coded(TypeError("items must be a number or an iterable, not bool"), "MH-ARGUMENT")
    if isinstance(items, int):
        items = range(items)
    listed = items if isinstance(items, (range, list, tuple)) else list(items)
    if not listed:
        raise coded(ValueError("there are no items: nothing to compare"), "MH-ARGUMENT")
    return listed
