"""``python -m manyhands run``: an unmodified program, with the four modules substituted, here and in its children."""

from __future__ import annotations

import argparse
import io
import os
import sys
import types
from typing import Any

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = "python -m manyhands run (SCRIPT | -m MODULE | -c CODE) [ARGS ...]"
    parser.epilog = (
        "Python children are substituted, too, whichever way they are started, but for those started with -I or -E. "
        "MANYHANDS_COMPAT=strict asks for the standard library's behaviour where ours is better on purpose."
    )
    parser.add_argument(
        "program",
        nargs=argparse.REMAINDER,
        help="a script, a folder or zip file with __main__.py, -m MODULE, or -c CODE",
    )


def run(options: argparse.Namespace) -> int:
    program = list(options.program)
    if not program or (program[0] in ("-m", "-c") and len(program) < 2):
        print("manyhands run: nothing to run; give a SCRIPT, -m MODULE or -c CODE", file=sys.stderr)
        return 2
    from manyhands._impl.dump_request import listen
    from manyhands._substitute import install

    install()
    listen()
    if program[0] == "-m":
        return _guarded(_run_module, program[1], program[2:])
    if program[0] == "-c":
        return _guarded(_run_code, program[1], program[2:])
    if program[0] == "--":
        del program[0]
    return _guarded(_run_script, program[0], program[1:])


def _guarded(runner: Any, what: str, arguments: list[str]) -> int:
    """Report an exception as the interpreter would, without our own frames on top."""
    try:
        return int(runner(what, arguments) or 0)
    except Exception as error:
        trace = error.__traceback__
        while trace is not None and trace.tb_frame.f_code.co_filename in (__file__, "<frozen runpy>"):
            trace = trace.tb_next
        sys.excepthook(type(error), error.with_traceback(trace), trace)
        return 1


def _fresh_main(**attributes: Any) -> types.ModuleType:
    """A __main__ module as the interpreter makes it, in place of ours."""
    main = types.ModuleType("__main__")
    main.__dict__.update(__builtins__=sys.modules["builtins"], __annotations__={}, **attributes)
    sys.modules["__main__"] = main
    return main


def _run_module(name: str, arguments: list[str]) -> None:
    import runpy

    sys.argv = ["-m", *arguments]
    sys.path[0] = os.getcwd() if not getattr(sys.flags, "safe_path", False) else sys.path[0]
    _fresh_main()
    runpy._run_module_as_main(name)  # type: ignore[attr-defined]  # what `python -m` itself calls


def _run_code(code: str, arguments: list[str]) -> None:
    sys.argv = ["-c", *arguments]
    sys.path[0] = ""
    exec(compile(code, "<string>", "exec", dont_inherit=True), _fresh_main().__dict__)


def _run_script(path: str, arguments: list[str]) -> int:
    sys.argv = [path, *arguments]
    if os.path.isdir(path) or _is_archive(path):
        import runpy

        sys.path[0] = path
        _fresh_main()
        runpy._run_module_as_main("__main__", alter_argv=False)  # type: ignore[attr-defined]
        return 0
    try:
        with io.open_code(os.path.abspath(path)) as file:
            source = file.read()
    except OSError as error:
        print(f"manyhands run: can't open file {path!r}: {error.strerror}", file=sys.stderr)
        return 2
    sys.path[0] = os.path.dirname(os.path.realpath(path))
    main = _fresh_main(__file__=path, __cached__=None)
    exec(compile(source, path, "exec", dont_inherit=True), main.__dict__)
    return 0


def _is_archive(path: str) -> bool:
    import zipfile

    return os.path.isfile(path) and zipfile.is_zipfile(path)
