"""Protect credentials and tokens, which must not be printed.

`Secret` holds a credential or a token. `reveal()` is the only access to its value, so every use of a secret can be
found by searching for that name.

Invariants:
    - `repr`, `str` and `format` of a secret give `***`.
    - A secret cannot be pickled, copied or written as JSON.
    - Secrets are compared in constant time.
"""

from __future__ import annotations

import hmac
from typing import NoReturn


class Secret:
    """A string that is not shown when it is printed."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the value."""
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
        raise TypeError(
            "a Secret cannot be pickled or copied. Pass the name of an environment variable or a file instead."
        )
