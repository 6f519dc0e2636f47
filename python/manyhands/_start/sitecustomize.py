"""Runs at the start of Python children of a program under ``manyhands run``, and of no other.

PYTHONPATH leads here. Another interpreter, or one that cannot import manyhands, is left untouched; a
``sitecustomize`` of the user's is run as if this file were not there.
"""

import os
import sys


def _substitute() -> None:
    wanted = os.environ.get("MANYHANDS_INSTALLED", "")
    if not wanted:
        return
    from importlib.machinery import EXTENSION_SUFFIXES

    own = f"{EXTENSION_SUFFIXES[0]}|{os.path.realpath(sys.base_prefix)}|"
    if not wanted.startswith(own):
        return
    folder = wanted[len(own) :]
    if "manyhands" not in sys.modules:
        import importlib.util

        if importlib.util.find_spec("manyhands") is None:
            init = os.path.join(folder, "__init__.py")
            spec = importlib.util.spec_from_file_location(
                "manyhands", init, submodule_search_locations=[folder]
            )
            if spec is None or spec.loader is None or not os.path.exists(init):
                return
            module = importlib.util.module_from_spec(spec)
            sys.modules["manyhands"] = module
            spec.loader.exec_module(module)
    from manyhands._substitute import install

    install()


def _next_sitecustomize() -> None:
    """Run the sitecustomize that this one hides, under its own name."""
    from importlib.machinery import PathFinder

    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [p for p in sys.path if os.path.abspath(p) != here]
    spec = PathFinder.find_spec("sitecustomize", sys.path)
    if spec is not None and spec.loader is not None:
        import _frozen_importlib

        module = _frozen_importlib.module_from_spec(spec)
        sys.modules["sitecustomize"] = module
        spec.loader.exec_module(module)


try:
    _substitute()
finally:
    _next_sitecustomize()
