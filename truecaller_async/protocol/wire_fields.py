"""Convert the columns of canonical records to the values of the wire.

Canonical records have numbers as digits and times as int milliseconds; `validation.normalise` produces them. A time in
any other form is refused here, because JSON could encode it and the server would misread it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

from truecaller_async.errors import ValidationError
from truecaller_async.models import Problem

T = TypeVar("T")
INT_TYPE = frozenset({int})


def milliseconds(times: Sequence[object], field: str) -> Iterable[int]:
    """Return the times of a column.

    Raises:
        ValidationError: A time is not an int.
    """
    if INT_TYPE.issuperset(map(type, times)):
        return times  # type: ignore[return-value]
    raise ValidationError(
        [Problem(field, "canonical", "is not in milliseconds", hint="pass the record through `preflight` first")]
    )


def replace_none(values: Sequence[str | None], replacement: T) -> Iterable[str | T]:
    """Return the values of a column with a replacement for each None."""
    if None not in values:
        return values  # type: ignore[return-value]
    return [replacement if value is None else value for value in values]
