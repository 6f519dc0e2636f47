"""The line below a traceback that leads to what an error of manyhands means: a short code, which `explain` takes."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeVar

    _E = TypeVar("_E", bound=BaseException)

__all__ = ["Code", "coded", "note"]


def note(code: str) -> str:
    """The line that a traceback ends with."""
    return f"{code}: python -m manyhands explain {code}"


def coded(error: _E, code: str) -> _E:
    """The error, with a line below its traceback that leads here. Its message stays as it is."""
    error.add_note(note(code))
    return error


class Code:
    """The notes of a class of errors begin with its code. They are made when somebody asks for them, at a traceback."""

    def __get__(self, error: Any, cls: type) -> Any:
        if error is None or cls.code is None:  # type: ignore[attr-defined]
            raise AttributeError("__notes__")
        notes = error.__dict__["__notes__"] = [note(error.code)]
        return notes
