"""What must never be printed, and what may be printed only in part.

A `Secret` holds a credential or a token. It shows `***` wherever Python would show a value (repr, str, format),
refuses to be pickled or copied into JSON, and compares in constant time. `reveal()` is the one way to the value,
so every place that reads a secret can be found by that word.

A phone number is shown by its last four digits only: `mask_number("911234567898") == "********7898"`.
"""

from __future__ import annotations

import hmac
from typing import NoReturn

SHOWN_DIGITS = 4


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


def mask_number(number: object) -> str:
    """The value with all but its last four characters replaced by asterisks; short values are hidden whole."""
    text = str(number)
    if len(text) <= SHOWN_DIGITS:
        return "*" * len(text)
    return "*" * (len(text) - SHOWN_DIGITS) + text[-SHOWN_DIGITS:]
