"""Objects that are their attributes. No dataclasses: each worker process would import `inspect` for them."""

from __future__ import annotations

__all__ = ["Record"]


class Record:
    """Shown, and compared, by the attributes that `__slots__` names."""

    __slots__: tuple[str, ...] = ()

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and all(
            getattr(self, name) == getattr(other, name) for name in self.__slots__
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__slots__)
        return f"{type(self).__name__}({values})"
