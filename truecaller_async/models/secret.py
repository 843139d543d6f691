"""A value that is never printed.

A `Secret` holds a credential or a token. It shows `***` wherever Python would show a value (repr, str, format),
refuses to be pickled or copied into JSON, and compares in constant time. `reveal()` is the one way to the value,
so every place that reads a secret can be found by that word.
"""

from __future__ import annotations

import hmac
from typing import NoReturn


class Secret:
    """A string that does not show itself."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The value itself."""
        return self._value

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._value.encode(), other._value.encode())

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __repr__(self) -> str:
        return "Secret('***')"

    def __str__(self) -> str:
        return "***"

    def __format__(self, spec: str) -> str:
        return "***"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret does not pickle; pass the variable's name or a file instead")
