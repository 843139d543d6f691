"""Encode requests to TrustCaller, without host and token. Pure.

Invariants:
    - Every argument is checked before a request is sent, so that a wrong one does not use up the limit of 60 requests a
      minute.
    - Every request has `Accept: application/json`, as documented. Without it an error may be a web page.
"""

from __future__ import annotations

import re
from datetime import date, datetime

from truecaller_async.models import Problem, Request, mask_number
from truecaller_async.protocol.arguments import check_int, raise_problems
from truecaller_async.protocol.request_common import LIST_MAX_BYTES, READ_HEADERS, WRITE_HEADERS, json_body, query
from truecaller_async.redaction import shown_value

PER_PAGE_MAX_ROWS = 1000
NAME_MAX_CHARS = 64
SHOWN_MAX_DIGITS = 20

NUMBER_FORM = re.compile(r"[1-9][0-9]{0,14}", re.ASCII)


def numbers_request(page: int, per_page: int | None) -> Request:
    """Build the request for a page of reserved numbers. Raise `ValidationError`.

    From "TrustCaller API: List numbers".
    """
    raise_problems(*_check_paging(page, per_page))
    return _get("numbers", "/numbers" + query(page=page, per_page=per_page))


def public_test_numbers_request(prefix: str | None) -> Request:
    """Build the request for the public test numbers. Raise `ValidationError`.

    From "TrustCaller API: Test numbers".
    """
    if prefix is None:
        return _get("test_numbers", "/test-numbers")
    digits = _without_plus(prefix)
    raise_problems(_check_number("prefix", digits))
    return _get("test_numbers", "/test-numbers" + query(prefix=digits))


def calls_request(page: int, per_page: int | None, from_date: date | None, to_date: date | None) -> Request:
    """Build the request for a page of call records. Raise `ValidationError`.

    From "TrustCaller API: List calls".
    """
    dates = {"from_date": from_date, "to_date": to_date}
    problems = [_check_date(name, day) for name, day in dates.items() if day is not None]
    raise_problems(*_check_paging(page, per_page), *problems)
    raise_problems(_check_order(from_date, to_date))
    days = {"from": from_date and from_date.isoformat(), "to": to_date and to_date.isoformat()}
    return _get("calls", "/calls" + query(**days, page=page, per_page=per_page))


def call_request(call_id: int) -> Request:
    """Build the request for one call record. Raise `ValidationError`.

    From "TrustCaller API: Get a call".
    """
    raise_problems(check_int("call_id", call_id))
    return _get("call", f"/calls/{call_id}")


def check_request(number: str) -> Request:
    """Build the request for the live check of a number. Raise `ValidationError`.

    From "TrustCaller API: Check live call".
    """
    digits = _without_plus(number)
    raise_problems(_check_number("number", digits))
    return _get("check", "/calls/check" + query(number=digits))


def create_key_request(name: str) -> Request:
    """Build the request that creates a key. Raise `ValidationError`.

    From "TrustCaller API: Create an API key".
    """
    raise_problems(_check_name(name))
    return Request("create_key", "POST", "/auth/keys", json_body({"name": name}), WRITE_HEADERS)


def keys_request() -> Request:
    """Build the request for all keys. From "TrustCaller API: List API keys"."""
    return _get("keys", "/auth/keys")


def revoke_key_request(key_id: int) -> Request:
    """Build the request that revokes a key. Raise `ValidationError`.

    From "TrustCaller API: Revoke an API key".
    """
    raise_problems(check_int("key_id", key_id))
    return Request("revoke_key", "DELETE", f"/auth/keys/{key_id}", None, READ_HEADERS)


def _get(call: str, path: str) -> Request:
    return Request(call, "GET", path, None, READ_HEADERS, body_max_bytes=LIST_MAX_BYTES)


def _without_plus(number: object) -> object:
    return number.removeprefix("+") if isinstance(number, str) else number


def _check_paging(page: object, per_page: object) -> tuple[Problem | None, ...]:
    return check_int("page", page), None if per_page is None else _check_per_page(per_page)


def _check_per_page(per_page: object) -> Problem | None:
    problem = check_int("per_page", per_page)
    if problem is not None or (isinstance(per_page, int) and per_page <= PER_PAGE_MAX_ROWS):
        return problem
    message = f"is more than {PER_PAGE_MAX_ROWS}, the maximum of a page"
    return Problem("per_page", "per_page.range", message, shown_value(per_page), "omit it for 100 a page")


def _check_number(field: str, number: object) -> Problem | None:
    if isinstance(number, str) and NUMBER_FORM.fullmatch(number):
        return None
    shown = mask_number(number[-SHOWN_MAX_DIGITS:]) if isinstance(number, str) else shown_value(number)
    message = "is not 1 to 15 digits without a leading zero"
    return Problem(field, f"{field}.form", message, shown, "give the digits with country code, without spaces")


def _check_date(field: str, day: object) -> Problem | None:
    if isinstance(day, date) and not isinstance(day, datetime):
        return None
    hint = "give a datetime.date: TrustCaller uses whole days, in an undocumented time zone"
    return Problem(field, f"{field}.type", "is not a date", shown_value(day), hint)


def _check_order(from_date: date | None, to_date: date | None) -> Problem | None:
    if from_date is None or to_date is None or from_date <= to_date:
        return None
    hint = "exchange the two dates"
    return Problem("from_date", "from_date.order", f"is after to_date, {to_date}", from_date.isoformat(), hint)


def _check_name(name: object) -> Problem | None:
    if isinstance(name, str) and name.strip() and len(name) <= NAME_MAX_CHARS:
        return None
    shown = f"{len(name)} characters" if isinstance(name, str) else shown_value(name)
    return Problem(
        "name", "name.form", f"is not a text of 1 to {NAME_MAX_CHARS} characters", shown, "give the key a label"
    )
