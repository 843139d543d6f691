"""The table of retries as values, and its words as answers."""

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
from truecaller_async.resilience.circuit_breaker import ServiceGuard

TABLE = Path(__file__).with_name("retries.toml")
SOON = 0.01
"""Seconds by which a time may differ from the table's: permits are spread, and sleepers have a shortest sleep."""

GOOD: dict[str, Answer] = {
    "push": PUSHED,
    "submit": answer(200, {"batch_id": "b-1"}),
    "status": answer(
        200,
        {"batch_id": "b-1", "data": [{"id": "0", "receiver_number": "919900000000", "status": "success"}]},
    ),
    "labels": answer(200, []),
}
REFUSED_RECORD = answer(200, {"status_info": {"status": "error", "message": "the receiver is not reachable"}})
REFUSED_BATCH = answer(400, {"slug": "invalid-input", "message": "label_id is not accepted"})
SAID = {
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
"""Statuses that are answered with nothing but a message."""
NOT_THERE = answer(404, {"slug": "not-found-error", "message": "no such batch"})
ELSEWHERE = answer(302, None, location="https://elsewhere.example/")


class Highest(Random):
    """Dice that always show the highest number."""

    def uniform(self, a: float, b: float) -> float:
        return b


@attrs.frozen(kw_only=True)
class Single:
    """One call and what it met with. What each field means stands in the table itself."""

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
class Campaign:
    """A campaign of one record, or of several, and what its requests met with."""

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


def singles() -> list[Single]:
    """The cases of single calls."""
    return [_exact(Single, case) for case in _table()["single"]]


def campaigns() -> list[Campaign]:
    """The cases of campaigns."""
    return [_exact(Campaign, case) for case in _table()["campaign"]]


def spelled_out(words: list[str]) -> list[str]:
    """One word for each answer."""
    spelled = list[str]()
    for word in words:
        what, _, count = word.partition(" x ")
        spelled += [what] * int(count or 1)
    return spelled


def end_of(word: str) -> End:
    """What becomes of a request, by its word. None is the good answer."""
    status, _, rest = word.partition(":")
    if status == "429" and rest == "in 20 s":
        return throttled(_date(BASE + 20), date=_date(BASE))
    if status == "429":
        return throttled(rest or None)
    if word == "200":
        return None
    if word in _ENDS:
        return _ENDS[word]
    if word.endswith(" applied"):
        return AppliedThen(_page(int(word[:3])))
    assert word.isdigit(), word
    return _page(int(word))


def state_of(guard: ServiceGuard) -> tuple[float, str]:
    """What is left for retries, and the state of the breaker."""
    return round(guard.budget, 6), "open" if guard.is_open else "closed"


def _date(wall: float) -> str:
    return format_datetime(datetime.fromtimestamp(wall, UTC), usegmt=True)


def _final() -> NotSent:
    error = NotSent("the certificate was not accepted")
    error.retryable = False
    return error


def _page(status: int) -> Answer:
    assert status >= 500, status
    return Answer(status, {"content-type": "text/html"}, b"<html>sorry</html>")


_ENDS: dict[str, End] = {
    "200 no": REFUSED_RECORD,
    "200 garbage": answer(200, {"hello": "world"}),
    "200 page": PORTAL,
    "500 token": UNPARSED_TOKEN,
    "lost": ResponseLost("the connection broke"),
    "not sent": NotSent("connection refused"),
    "not sent, final": _final(),
    "302": ELSEWHERE,
    "400": REFUSED_BATCH,
    "401": REFUSED_TOKEN,
    "403": FORBIDDEN,
    "404": NOT_THERE,
    **{str(status): answer(status, {"message": message}) for status, message in SAID.items()},
    "503:20": Answer(503, {"content-type": "text/html", "retry-after": "20"}, b"<html>sorry</html>"),
}


def _table() -> dict[str, list[dict[str, Any]]]:
    return tomllib.loads(TABLE.read_text("utf-8"))


def _exact(kind: type[Any], case: dict[str, Any]) -> Any:
    converter = cattrs.Converter(forbid_extra_keys=True)
    return converter.structure(case, kind)
