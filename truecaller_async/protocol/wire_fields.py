"""The form of a record that may go on the wire: numbers as digits, times as whole milliseconds.

The pre-flight makes it. A time in any other form is refused here, because JSON would take it and the server would
not.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

from truecaller_async.errors import ValidationError
from truecaller_async.models import Problem

T = TypeVar("T")
WHOLE = frozenset({int})


def milliseconds(instants: Sequence[object], field: str) -> Iterable[int]:
    """The instants, which must be in milliseconds already."""
    if WHOLE.issuperset(map(type, instants)):
        return instants  # type: ignore[return-value]
    raise ValidationError(
        [Problem(field, "canonical", "is not in milliseconds", hint="pass the record through the pre-flight first")]
    )


def unless_none(values: Sequence[str | None], absent: T) -> Iterable[str | T]:
    """The values, and what stands for those that are None."""
    if None not in values:
        return values  # type: ignore[return-value]
    return [absent if value is None else value for value in values]
