"""The types of ``manyhands.shared``. Importable only where there is a compiled core."""

from manyhands._core import AtomicFlag as AtomicFlag
from manyhands._core import AtomicInt as AtomicInt
from manyhands._core import Block as Block

__all__ = ["AtomicFlag", "AtomicInt", "Block"]
