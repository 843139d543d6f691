"""Models to requests: the two deprecated exports. See `requests` for the rules of the room.

Times are epoch seconds. For one of the two the documentation contradicts itself: its text says milliseconds, its
examples are seconds; so the caller may say which.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Literal, TypeAlias

from truecaller_async.models import Problem, Request
from truecaller_async.protocol.arguments import check_survey_id, check_time, raise_problems, shown_value
from truecaller_async.protocol.request_common import READS, account_path, query

Unit: TypeAlias = Literal["seconds", "milliseconds"]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
UNITS = {"seconds": timedelta(seconds=1), "milliseconds": timedelta(milliseconds=1)}


def user_feedback_request(client_account_id: str, survey_id: str, from_date: datetime) -> Request:
    """Ask for the link to the answers of a feedback campaign since `from_date`. From "Truecaller for Business:
    Export user feedback".

    Raises `ValidationError` for a survey id that is not 1 to 100 letters, digits, hyphens and underscores, and for a
    time without zone.
    """
    raise_problems(check_survey_id(survey_id), check_time("from_date", from_date))
    asked = query(from_date=_since_epoch(from_date, "seconds"))
    path = f"{account_path(client_account_id)}/openapi/feedback_stack/{survey_id}/export_report"
    return Request("exports", "GET", path + asked, None, READS)


def call_me_back_request(client_account_id: str, start: datetime, end: datetime, unit: Unit) -> Request:
    """Ask for the link to the call-me-back log from `start` to `end`. From "Truecaller for Business: Export call me
    back".

    Raises `ValidationError` for a time without zone, an end that is not after the start, and an unknown unit.
    """
    raise_problems(check_time("start", start), check_time("end", end), _judge_unit(unit))
    if end <= start:
        raise_problems(
            Problem("end", "end.order", f"is not after start, which is {start.isoformat()}", end.isoformat())
        )
    asked = query(**{"from": _since_epoch(start, unit), "to": _since_epoch(end, unit)})
    return Request(
        "exports", "GET", f"{account_path(client_account_id)}/openapi/callback-logs/summary{asked}", None, READS
    )


def _judge_unit(unit: object) -> Problem | None:
    if isinstance(unit, str) and unit in UNITS:
        return None
    return Problem("unit", "unit.known", f"is none of {', '.join(UNITS)}", shown_value(unit))


def _since_epoch(instant: datetime, unit: Unit) -> int:
    return (instant - EPOCH) // UNITS[unit]
