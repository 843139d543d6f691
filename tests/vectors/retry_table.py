"""Read `retries.toml`, and turn its codes into answers."""

from __future__ import annotations

import tomllib
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from random import Random
from typing import Any, Literal

import attrs
import cattrs

from tests.resources.script import PUSHED, answer
from tests.throttling.gateway import (
    FORBIDDEN,
    PORTAL,
    REFUSED_TOKEN,
    UNPARSED_TOKEN,
    AppliedThen,
    End,
    throttled,
)
from tests.virtual import BASE
from truecaller_async import NotSent, ResponseLost
from truecaller_async.models import Answer
from truecaller_async.resilience.service_guard import ServiceGuard

TABLE = Path(__file__).with_name("retries.toml")
TIME_TOLERANCE_SECONDS = 0.01
"""Maximum difference to a time of the table: permits are spread, and a sleep has a minimum length."""

GOOD: dict[str, Answer] = {
    "push": PUSHED,
    "submit": answer(200, {"batch_id": "b-1"}),
    "status": answer(
        200,
        {"batch_id": "b-1", "data": [{"id": "0", "receiver_number": "919900000000", "status": "success"}]},
    ),
    "labels": answer(200, []),
}
REJECTED_RECORD = answer(200, {"status_info": {"status": "error", "message": "the receiver is not reachable"}})
REJECTED_BATCH = answer(400, {"slug": "invalid-input", "message": "label_id is not accepted"})
MESSAGE_OF_STATUS = {
    405: "method not allowed",
    408: "request timeout",
    411: "length required",
    413: "too large",
    415: "unsupported media type",
    421: "misdirected request",
    422: "not one of the labels",
    425: "too early",
    426: "upgrade required",
    431: "header fields too large",
}
"""Message of each status that is answered with a message only."""
BATCH_NOT_FOUND = answer(404, {"slug": "not-found-error", "message": "no such batch"})
REDIRECT = answer(302, None, location="https://elsewhere.example/")


class HighestRandom(Random):
    """Always draw the highest number."""

    def uniform(self, a: float, b: float) -> float:
        return b


@attrs.frozen(kw_only=True)
class SingleCallCase:
    """One call and its answers. The head of the table describes each field."""

    name: str
    call: str
    answers: list[str]
    waits: list[float]
    budget: float
    outcome: str
    before: list[str] = attrs.field(factory=list)
    breaker: str = "closed"
    sent: str | None = None
    retryable: bool | None = None
    attempts: int | None = None
    total: float | None = None
    deadline: float | None = None
    tokens: int = 1
    meanwhile: list[str] = attrs.field(factory=list)


@attrs.frozen(kw_only=True)
class CampaignCase:
    """A campaign and the answers to its requests. The head of the table describes each field."""

    name: str
    waits: list[float]
    budget: float
    outcome: str
    attempts: int
    submit: list[str] = attrs.field(factory=list)
    status: list[str] = attrs.field(factory=list)
    on_ambiguous: Literal["resend", "hold"] = "resend"
    isolate: Literal["realtime", "none"] = "realtime"
    possibly_duplicated: bool = False
    fault: str | None = None
    breaker: str = "closed"
    before: list[str] = attrs.field(factory=list)
    records: int = 1


def single_call_cases() -> list[SingleCallCase]:
    """Return the cases of single calls."""
    return [_structure(SingleCallCase, case) for case in _table()["single"]]


def campaign_cases() -> list[CampaignCase]:
    """Return the cases of campaigns."""
    return [_structure(CampaignCase, case) for case in _table()["campaign"]]


def expand(codes: list[str]) -> list[str]:
    """Replace each "code x n" by n codes."""
    expanded = list[str]()
    for code in codes:
        single, _, count = code.partition(" x ")
        expanded += [single] * int(count or 1)
    return expanded


def end_for(code: str) -> End:
    """Return the end of a request by its code; None is the good answer."""
    status, _, rest = code.partition(":")
    if status == "429" and rest == "in 20 s":
        return throttled(_date(BASE + 20), date=_date(BASE))
    if status == "429":
        return throttled(rest or None)
    if code == "200":
        return None
    if code in _END_BY_CODE:
        return _END_BY_CODE[code]
    if code.endswith(" applied"):
        return AppliedThen(_gateway_page(int(code[:3])))
    assert code.isdigit(), code
    return _gateway_page(int(code))


def guard_state(guard: ServiceGuard) -> tuple[float, str]:
    """Return the balance of the retry budget and the state of the breaker."""
    return round(guard.budget.balance, 6), "open" if guard.is_open else "closed"


def _date(wall: float) -> str:
    return format_datetime(datetime.fromtimestamp(wall, UTC), usegmt=True)


def _permanent_not_sent() -> NotSent:
    error = NotSent("the certificate was not accepted")
    error.retryable = False
    return error


def _gateway_page(status: int) -> Answer:
    assert status >= 500, status
    return Answer(status, {"content-type": "text/html"}, b"<html>sorry</html>")


_END_BY_CODE: dict[str, End] = {
    "200 rejected": REJECTED_RECORD,
    "200 undecodable": answer(200, {"hello": "world"}),
    "200 page": PORTAL,
    "500 token": UNPARSED_TOKEN,
    "lost": ResponseLost("the connection broke"),
    "not sent": NotSent("connection refused"),
    "not sent, final": _permanent_not_sent(),
    "302": REDIRECT,
    "400": REJECTED_BATCH,
    "401": REFUSED_TOKEN,
    "403": FORBIDDEN,
    "404": BATCH_NOT_FOUND,
    **{str(status): answer(status, {"message": message}) for status, message in MESSAGE_OF_STATUS.items()},
    "503:20": Answer(503, {"content-type": "text/html", "retry-after": "20"}, b"<html>sorry</html>"),
}


def _table() -> dict[str, list[dict[str, Any]]]:
    return tomllib.loads(TABLE.read_text("utf-8"))


def _structure(kind: type[Any], case: dict[str, Any]) -> Any:
    converter = cattrs.Converter(forbid_extra_keys=True)
    return converter.structure(case, kind)
