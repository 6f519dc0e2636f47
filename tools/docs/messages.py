#!/usr/bin/env python3
"""Every message of an error of ours, in Python and C, and its code: `tools/docs/messages.py` lists them.

A message has a code where its error is made by `coded(..., "MH-X")`, by `ext_refuse(..., "MH-X", ...)` in C, or is of a
class that has one. A test holds that the others are listed with a reason in tests/py/unit/messages_without_code.txt.
An error without a text of ours (a number of the system's, an exception of the user's) has no message.
"""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PACKAGE, EXTENSION = ROOT / "python" / "manyhands", ROOT / "ext"
BUILTIN = {
    name
    for name, value in vars(builtins).items()
    if isinstance(value, type) and issubclass(value, BaseException) and not issubclass(value, Warning)
}
_C_CALL = re.compile(r"\b(PyErr_SetString|PyErr_Format|ext_refuse|ext_raise)\(")


class Message(NamedTuple):
    place: str
    text: str  # what varies is "{}"; "{}" alone where all of it does
    code: str | None


def all_messages() -> list[Message]:
    classes = coded_classes()
    trees = {path: ast.parse(path.read_text()) for path in sorted(PACKAGE.rglob("*.py"))}
    known = BUILTIN | set(classes) | own_classes(trees.values())
    found = [one for path, tree in trees.items() for one in of_python(path, tree, known, classes)]
    for path in sorted(EXTENSION.glob("*.c")):
        found += in_c(path, path.read_text())
    return found


# ---- Python


def own_classes(trees: object) -> set[str]:
    """Names of classes of exceptions that the package makes."""
    classes = {
        node.name: {ast.unparse(base).rpartition(".")[2] for base in node.bases}
        for tree in trees  # type: ignore[attr-defined]
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    }
    found: set[str] = set()
    while True:
        more = {name for name, bases in classes.items() if bases & (BUILTIN | found)} - found
        if not more:
            return found
        found |= more


def coded_classes() -> dict[str, str]:
    """Those whose errors have the code of their class."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        for name, body in re.findall(r"^class (\w+)\(.*?\):\n((?:    .*\n|\n)+)", path.read_text(), re.M):
            code = re.search(r'^    code = "(MH-[A-Z-]+)"$', body, re.M)
            if code:
                found[name] = code[1]
    return found


def of_python(path: Path, tree: ast.AST, known: set[str], classes: dict[str, str]) -> Iterator[Message]:
    codes = {}  # of an error inside coded(error, code)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and name_of(node) == "coded":
            codes[id(node.args[0])] = ast.literal_eval(node.args[1])
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and name_of(node) in known and "".join(map(text_of, node.args)):
            text = " ".join(filter(None, map(text_of, node.args)))
            place = f"{path.relative_to(ROOT)}:{node.lineno}"
            yield Message(place, text, codes.get(id(node)) or classes.get(name_of(node)))


def name_of(call: ast.Call) -> str:
    return ast.unparse(call.func).rpartition(".")[2]


def text_of(node: ast.expr) -> str:
    """A text as it is written; nothing for numbers and what is handed on."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    if isinstance(node, ast.JoinedStr):
        return "".join(text_of(one) or "{}" for one in node.values)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "format":
        return text_of(node.func.value)
    return "{}" if isinstance(node, (ast.Name, ast.Call, ast.BinOp, ast.IfExp)) else ""


# ---- C


def in_c(path: Path, text: str) -> Iterator[Message]:
    text = re.sub(r"/\*.*?\*/", lambda m: re.sub(r"[^\n]", " ", m[0]), text, flags=re.S)
    for match in _C_CALL.finditer(text):
        if text.rfind("\n", 0, match.start()) + 1 == match.start() - len("PyObject *"):
            continue  # where it is defined
        words = arguments(text, match.end())
        line = text.count("\n", 0, match.start()) + 1
        place = f"{path.relative_to(ROOT)}:{line}"
        if match[1] == "ext_raise":
            if words[2] != "NULL":
                yield Message(place, literal(words[2]), f"of {words[1]}")
        elif match[1] == "ext_refuse":
            yield Message(place, literal(words[2]), literal(words[1]))
        else:
            yield Message(place, literal(words[1]), None)


def arguments(text: str, start: int) -> list[str]:
    """Of a call, from behind its bracket."""
    words, depth, quoted, at = [""], 0, False, start
    while True:
        c = text[at]
        if quoted and c == "\\":
            words[-1] += text[at : at + 2]
            at += 2
            continue
        quoted ^= c == '"'
        if not quoted:
            if c == ")" and depth == 0:
                return [word.strip() for word in words]
            depth += {"(": 1, ")": -1}.get(c, 0)
        if c == "," and depth == 0 and not quoted:
            words.append("")
        else:
            words[-1] += c
        at += 1


def literal(words: str) -> str:
    parts = re.findall(r'"((?:[^"\\]|\\.)*)"', words)
    if not parts:
        return "{}"
    return re.sub(r"%\.?\d*[a-zA-Z]+?(?<=[sSdUuRiAx])", "{}", (" | " if "?" in words else "").join(parts))


def main() -> None:
    for one in all_messages():
        print(f"{one.code or '-':20} {one.place:52} {one.text}")


if __name__ == "__main__":
    main()
