"""Pages in Markdown from the docstrings of every public Python name."""

from __future__ import annotations

import enum
import importlib
import inspect
import re
import textwrap
from collections.abc import Iterator
from types import ModuleType
from typing import Any

MODULES = (
    "manyhands",
    "manyhands.threading",
    "manyhands.queue",
    "manyhands.multiprocessing",
    "manyhands.futures",
    "manyhands.shared",
    "manyhands.named",
    "manyhands.advise",
)
OWN = ("manyhands.named", "manyhands.advise", "manyhands._impl.named", "manyhands.shared")
WIDE = 94  # letters that fit beside the menus
# `Lock()` of a context is a method that makes one; these modules have the classes themselves
CLASSES = ("synchronize", "queues", "connection", "pool", "shared_memory", "sharedctypes", "managers")


def returned_names(module: ModuleType) -> list[str]:
    """Classes of a drop-in module that calls return: public, and not in `__all__`."""
    return sorted(getattr(module, "_returned", {}))


def public_names(module: ModuleType) -> list[str]:
    names = sorted(set(module.__all__), key=str.lower)
    if (
        module.__name__.rpartition(".")[2] in CLASSES
    ):  # only what is ours: the rest is in Python's own reference
        return [name for name in names if getattr(module, name).__module__.startswith("manyhands")]
    return names


def doc(of: Any) -> str:
    text = inspect.getdoc(of) or ""
    # what the interpreter writes above the text of functions in C
    return re.sub(r"\A\w+\(.*?\)\n--\n\n", "", text, flags=re.S)


def as_markdown(text: str) -> str:
    """Docstrings are plain text: what is indented is code, and what looks like a tag is none."""
    out, code = [], False
    for paragraph in re.split(r"\n\s*\n", text):
        lines = paragraph.split("\n")
        if all(line.startswith("    ") for line in lines):
            out.append("```python\n" + textwrap.dedent(paragraph) + "\n```")
            continue
        code = not code and paragraph.rstrip().endswith("::")
        plain = paragraph.replace("``", "`")
        out.append(re.sub(r"::$", ":", plain.rstrip()).replace("<", "&lt;") if "`" not in plain else plain)
    return "\n\n".join(out)


def signature(of: Any) -> str:
    try:
        text = str(inspect.signature(of))
    except (TypeError, ValueError):
        return "(...)"
    text = re.sub(r"ForwardRef\(('[^']*')\)", r"\1", text)  # of a named tuple
    text = re.sub(r"(: |-> )'([^']*)'", r"\1\2", text)  # annotations that are text
    return re.sub(r"^\((self, /, |self, /|self, |self(?=\)))", "(", text)


def in_lines(text: str) -> str:
    """A long signature, with a line for each parameter: commas inside brackets part none."""
    head, bracket, rest = text.partition("(")
    if len(text) <= WIDE or not bracket:
        return text
    depth, lines = 1, [""]
    for at, letter in enumerate(rest):
        depth += (letter in "([{") - (letter in ")]}")
        if not depth:
            return f"{head}(\n    " + ",\n    ".join(line.strip() for line in lines) + f",\n{rest[at:]}"
        if letter == "," and depth == 1:
            lines.append("")
        else:
            lines[-1] += letter
    return text


def members(cls: type) -> Iterator[tuple[str, Any]]:
    """What a class or a parent of it within manyhands adds to the standard library's."""
    seen = set()
    for parent in cls.__mro__:
        if not (parent is cls or parent.__module__.startswith("manyhands")):
            continue
        for name, value in sorted(vars(parent).items()):
            if not name.startswith("_") and name not in seen:
                seen.add(name)
                yield name, value


def own(cls: type) -> bool:
    """Whether the standard library has nothing of that name."""
    place = cls.__module__
    found = cls.__name__ in returned_names(importlib.import_module(place)) or place == "manyhands"
    return found or place.startswith(OWN)


def member_text(cls: type, name: str, value: Any) -> str:
    bound = getattr(cls, name)
    text = as_markdown(doc(bound))
    if callable(bound):
        head = f"`{name}{signature(bound)}`"
    elif inspect.isdatadescriptor(value):
        head = f"`{name}`"
    else:
        return ""
    if not text and own(cls):
        return f"- {head}\n\n"
    body = textwrap.indent(text, "    ").lstrip() if text else "as in the standard library."
    return f"- {head}: {body}\n\n"


def entry(module: ModuleType, name: str, level: str = "##") -> str:
    value = getattr(module, name)
    out = f"{level} {name}\n\n"
    if isinstance(value, (int, float, str)):
        out += f"A constant: `{value!r}`.\n\n"
    if callable(value) and level == "##":
        out += f"```python\n{in_lines(name + signature(value))}\n```\n\n"
    if inspect.isclass(value) and issubclass(value, BaseException):
        bases = ", ".join(base.__name__ for base in value.__mro__[1:-2])
        out += f"An exception: {bases}.\n\n"
    text = doc(value) if callable(value) or inspect.ismodule(value) else ""
    if inspect.isclass(value) and not vars(value).get("__doc__"):
        text = ""  # what it has inherited is about another class
    out += as_markdown(text) + "\n\n" if text else ""
    if inspect.isclass(value) and issubclass(value, enum.Enum):
        return (
            out
            + "Its values: "
            + ", ".join(f"`{name}` ({one.value!r})" for name, one in value.__members__.items())
            + ".\n\n"
        )
    if inspect.isclass(value):
        found = [member_text(value, *one) for one in members(value)]
        if any(found):
            out += "".join(found) + "\n"
    return out


def module_page(name: str) -> str:
    module = importlib.import_module(name)
    out = f"# {name}\n\n{as_markdown(doc(module))}\n\n"
    out += "".join(entry(module, one) for one in public_names(module))
    returned = returned_names(module)
    if returned:
        out += "## What calls return\n\nFor annotations; `import *` does not bring these.\n\n"
    return out + "".join(entry(module, one, "###") for one in returned)


def pages() -> Iterator[tuple[str, str]]:
    for name in (*MODULES, *(f"manyhands.multiprocessing.{one}" for one in CLASSES)):
        yield name, module_page(name)
