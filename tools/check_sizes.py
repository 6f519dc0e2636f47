"""Functions and files stay small: past 60 and 600 lines they are named, past 100 and 900 the check fails."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

from source import ROOT, Finding, Function, c_functions, files, report

FOLDERS = ("bench", "core", "examples", "ext", "include", "python", "tests", "tools")
FUNCTION_WARN, FUNCTION_FAIL = 60, 100
FILE_WARN, FILE_FAIL = 600, 900


def python_functions(text: str) -> Iterator[Function]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield Function(node.name, node.lineno, (node.end_lineno or node.lineno) - node.lineno + 1)


def oversize(path: str, text: str) -> Iterator[tuple[int, int, Finding]]:
    """Size, limit and finding of everything past its warning."""
    lines = text.count("\n")
    if lines > FILE_WARN:
        yield lines, FILE_FAIL, Finding(path, 1, f"{lines} lines")
    found = c_functions(text) if path.endswith((".c", ".h")) else python_functions(text)
    for function in found:
        if function.length > FUNCTION_WARN:
            where = Finding(path, function.line, f"{function.name}: {function.length} lines")
            yield function.length, FUNCTION_FAIL, where


def main(root: Path = ROOT) -> int:
    found = [
        entry
        for path, text in files(root, FOLDERS, (".c", ".h", ".py", ".pyi"))
        for entry in oversize(path, text)
    ]
    too_big = [finding for size, limit, finding in found if size > limit]
    return report(too_big, [finding for size, limit, finding in found if size <= limit])


if __name__ == "__main__":
    sys.exit(main())
