"""The form of a record that may go on the wire: numbers as digits, times as whole milliseconds.

The pre-flight makes it. A time in any other form is refused here, because JSON would take it and the server would
not.
"""

from __future__ import annotations

from datetime import datetime

from truecaller_async.errors import ValidationError
from truecaller_async.models import Problem


def milliseconds(instant: datetime | int, field: str) -> int:
    """The instant, which must be in milliseconds already."""
    if isinstance(instant, int):
        return instant
    raise ValidationError(
        [Problem(field, "canonical", "is not in milliseconds", hint="pass the record through the pre-flight first")]
    )
