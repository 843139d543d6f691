"""Check arguments other than records: ids, page numbers, times, seconds.

Purpose:
    An argument that enters a path or a query is checked before anything is sent. An id such as `../../admin` would
    call another endpoint, and page number 0 would cost a request that the server refuses.

Algorithm:
    Each `check_*` function returns a `Problem` or None. `raise_problems` raises all problems of a call together.

Invariants:
    - A value may be of any type. A problem shows it by `redaction.shown_value`: short, printable, numbers masked.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from truecaller_async import options
from truecaller_async.errors import ValidationError
from truecaller_async.models import Problem
from truecaller_async.protocol.server_message import is_batch_id
from truecaller_async.redaction import INTEGER_MAX, shown_value

SURVEY_ID = re.compile(r"[A-Za-z0-9_-]{1,100}", re.ASCII)


def raise_problems(*problems: Problem | None) -> None:
    """Raise `ValidationError` with all problems that are not None; do nothing if there are none."""
    found = [problem for problem in problems if problem is not None]
    if found:
        raise ValidationError(found)


def check_uuid(field: str, value: object) -> Problem | None:
    """Return a problem unless the value is a UUID. All ids of number management are UUIDs."""
    if isinstance(value, UUID) or (isinstance(value, str) and options.UUID.fullmatch(value)):
        return None
    hint = "copy the id from the console, or from the list of feature sets"
    return Problem(field, f"{field}.uuid", "is not a UUID", shown_value(value), hint)


def check_int(field: str, value: object) -> Problem | None:
    """Return a problem unless the value is an int from 1 to 2**63 - 1."""
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= INTEGER_MAX:
        return None
    return Problem(
        field, f"{field}.whole", "is not a whole number from 1", shown_value(value), "give an int, such as 100"
    )


def check_filters(filters: Mapping[str, object]) -> list[Problem]:
    """Return the problems with the filters of a list: each must be a UUID, and at most one may be given.

    Args:
        filters: value of each filter; None means that the filter is not given.
    """
    given = {name: value for name, value in filters.items() if value is not None}
    found = [problem for name, value in given.items() if (problem := check_uuid(name, value)) is not None]
    if len(given) > 1:
        hint = "give the narrowest one, and select from the result"
        names = ", ".join(given)
        found.append(
            Problem(names, "filter.one", "are given together: only one filter may be sent at a time", "", hint)
        )
    return found


def check_batch_id(value: object) -> Problem | None:
    """Return a problem unless the value can be a batch id. Batch ids are opaque and not always UUIDs."""
    if isinstance(value, str) and is_batch_id(value):
        return None
    message = "is not 1 to 200 printable ASCII characters without '../'"
    return Problem("batch_id", "batch_id.form", message, shown_value(value), "give the id that submit returned")


def check_survey_id(value: object) -> Problem | None:
    """Return a problem unless the value can be the id of a feedback campaign."""
    if isinstance(value, str) and SURVEY_ID.fullmatch(value):
        return None
    message = "is not 1 to 100 letters, digits, hyphens and underscores"
    return Problem("survey_id", "survey_id.form", message, shown_value(value), "copy the id of the feedback campaign")


def check_time(field: str, value: object) -> Problem | None:
    """Return a problem unless the value is an aware datetime."""
    if not isinstance(value, datetime):
        return Problem(
            field, f"{field}.type", "is not a datetime", shown_value(value), "give a datetime with a time zone"
        )
    if value.utcoffset() is None:
        hint = "add the zone, such as tzinfo=UTC"
        return Problem(field, f"{field}.zone", "has no time zone", value.replace(tzinfo=None).isoformat(), hint)
    return None


def check_seconds(field: str, value: object) -> Problem | None:
    """Return a problem unless the value is a finite number of seconds above 0."""
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= INTEGER_MAX:
        return None
    message, hint = "is not a finite number of seconds above 0", "give one, such as 30.0"
    return Problem(field, f"{field}.seconds", message, shown_value(value), hint)


def check_kind(field: str, value: object, kind: type, hint: str) -> Problem | None:
    """Return a problem unless the value is an instance of the class."""
    return (
        None
        if isinstance(value, kind)
        else Problem(field, f"{field}.type", f"is not of the class {kind.__name__}", shown_value(value), hint)
    )


def check_poll(value: object) -> Problem | None:
    """Return a problem unless the value is a `PollPolicy` or None, which means the default policy."""
    return None if value is None else check_kind("poll", value, options.PollPolicy, "give one, such as PollPolicy()")
