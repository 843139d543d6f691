"""What a caller gives beside records: ids, page numbers, instants, seconds.

Whatever enters a path or a query is judged before anything is opened: an id such as `../../admin` would lead to
another call, and a page number 0 costs a request to be told so. A judgement is a `Problem` or None, so that all that is
wrong with one call is told at once; `refuse` raises what was found. Values come from strangers and are shown short,
printable, and with long numbers masked.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from truecaller_async import options
from truecaller_async.errors import ValidationError
from truecaller_async.models import Problem
from truecaller_async.protocol.server_message import is_batch_id
from truecaller_async.redaction import redact

SURVEY_ID = re.compile(r"[A-Za-z0-9_-]{1,100}", re.ASCII)

WHOLE_MAX = 2**63 - 1
"""The largest integer that the documentation's types can hold."""

SHOWN = 60
"""Characters of a value that are shown."""


def raise_problems(*problems: Problem | None) -> None:
    """Raises `ValidationError` with the problems that are none of None; does nothing where there is none."""
    found = [problem for problem in problems if problem is not None]
    if found:
        raise ValidationError(found)


def check_uuid(field: str, value: object) -> Problem | None:
    """Whether it is a UUID, which is what all ids of number management are."""
    if isinstance(value, UUID) or (isinstance(value, str) and options.UUID.fullmatch(value)):
        return None
    hint = "copy the id from the console, or from the list of feature sets"
    return Problem(field, f"{field}.uuid", "is not a UUID", shown_value(value), hint)


def check_int(field: str, value: object) -> Problem | None:
    """Whether it is a whole number from 1."""
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= WHOLE_MAX:
        return None
    return Problem(
        field, f"{field}.whole", "is not a whole number from 1", shown_value(value), "give an int, such as 100"
    )


def check_filters(filters: Mapping[str, object]) -> list[Problem]:
    """What is wrong with these filters, of which None means "not given": each is a UUID, and one is given at most."""
    given = {name: value for name, value in filters.items() if value is not None}
    found = [problem for name, value in given.items() if (problem := check_uuid(name, value)) is not None]
    if len(given) > 1:
        hint = "give the narrowest one, and choose among what comes back"
        names = ", ".join(given)
        found.append(
            Problem(names, "filter.one", "are given together: only one filter may be sent at a time", "", hint)
        )
    return found


def check_batch_id(value: object) -> Problem | None:
    """Whether it may be asked for. Batch ids are opaque and not always UUIDs, so little is known of them."""
    if isinstance(value, str) and is_batch_id(value):
        return None
    message = "is not 1 to 200 printable ASCII characters without a step up such as '../'"
    return Problem("batch_id", "batch_id.form", message, shown_value(value), "give the id that submit returned")


def check_survey_id(value: object) -> Problem | None:
    """Whether it can be the id of a feedback campaign."""
    if isinstance(value, str) and SURVEY_ID.fullmatch(value):
        return None
    message = "is not 1 to 100 letters, digits, hyphens and underscores"
    return Problem("survey_id", "survey_id.form", message, shown_value(value), "copy the id of the feedback campaign")


def check_time(field: str, value: object) -> Problem | None:
    """Whether it is a datetime that names one moment everywhere."""
    if not isinstance(value, datetime):
        return Problem(
            field, f"{field}.type", "is not a datetime", shown_value(value), "give a datetime with a time zone"
        )
    if value.utcoffset() is None:
        hint = "add the zone, such as tzinfo=UTC"
        return Problem(field, f"{field}.zone", "has no time zone", value.replace(tzinfo=None).isoformat(), hint)
    return None


def check_seconds(field: str, value: object) -> Problem | None:
    """Whether it is a time that can be waited: a finite number of seconds above 0."""
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= WHOLE_MAX:
        return None
    message, hint = "is not a finite number of seconds above 0", "give one, such as 30.0"
    return Problem(field, f"{field}.seconds", message, shown_value(value), hint)


def check_kind(field: str, value: object, kind: type, hint: str) -> Problem | None:
    """Whether it is a value of this class."""
    return (
        None
        if isinstance(value, kind)
        else Problem(field, f"{field}.type", f"is not of the class {kind.__name__}", shown_value(value), hint)
    )


def check_poll(value: object) -> Problem | None:
    """Whether it can be a policy of polling; None is the usual one."""
    return None if value is None else check_kind("poll", value, options.PollPolicy, "give one, such as PollPolicy()")


def shown_value(value: object) -> str:
    """The value as an error may carry it; of a type whose text we do not know, the type's name."""
    match value:
        case str():
            return redact(value, SHOWN) or "''"
        case bool() | None:
            return str(value)
        case int() if abs(value) > WHOLE_MAX:
            return "an integer of more than 18 digits"
        case float() if not math.isfinite(value):
            return str(value)
        case int() | float():
            return redact(str(value), SHOWN) or ""
        case _:
            return f"<{type(value).__name__}>"
