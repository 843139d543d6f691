"""Build the requests of the two deprecated exports.

Times are sent as epoch seconds. For call-me-back logs the documentation contradicts itself: its text says
milliseconds, its examples have seconds. So the caller chooses the unit.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal, TypeAlias

from truecaller_async.models import Problem, Request
from truecaller_async.protocol.arguments import check_survey_id, check_time, raise_problems
from truecaller_async.protocol.request_common import READ_HEADERS, account_path, query
from truecaller_async.redaction import shown_value
from truecaller_async.validation.timestamps import EPOCH

Unit: TypeAlias = Literal["seconds", "milliseconds"]

UNITS = {"seconds": timedelta(seconds=1), "milliseconds": timedelta(milliseconds=1)}


def user_feedback_request(client_account_id: str, survey_id: str, from_date: datetime) -> Request:
    """Build the request for the link to the answers of a feedback campaign since `from_date`.

    From "Truecaller for Business: Export user feedback".

    Raises:
        ValidationError: `survey_id` is not 1 to 100 letters, digits, hyphens and underscores, or the time has no zone.
    """
    raise_problems(check_survey_id(survey_id), check_time("from_date", from_date))
    query_string = query(from_date=_since_epoch(from_date, "seconds"))
    path = f"{account_path(client_account_id)}/openapi/feedback_stack/{survey_id}/export_report"
    return Request("exports", "GET", path + query_string, None, READ_HEADERS)


def call_me_back_request(client_account_id: str, start: datetime, end: datetime, unit: Unit) -> Request:
    """Build the request for the link to the call-me-back log from `start` to `end`.

    From "Truecaller for Business: Export call me back".

    Raises:
        ValidationError: A time has no zone, `end` is not after `start`, or the unit is unknown.
    """
    raise_problems(check_time("start", start), check_time("end", end), _check_unit(unit))
    if end <= start:
        raise_problems(
            Problem("end", "end.order", f"is not after start, which is {start.isoformat()}", end.isoformat())
        )
    query_string = query(**{"from": _since_epoch(start, unit), "to": _since_epoch(end, unit)})
    path = f"{account_path(client_account_id)}/openapi/callback-logs/summary"
    return Request("exports", "GET", path + query_string, None, READ_HEADERS)


def _check_unit(unit: object) -> Problem | None:
    if isinstance(unit, str) and unit in UNITS:
        return None
    return Problem("unit", "unit.known", f"is none of {', '.join(UNITS)}", shown_value(unit))


def _since_epoch(moment: datetime, unit: Unit) -> int:
    return (moment - EPOCH) // UNITS[unit]
