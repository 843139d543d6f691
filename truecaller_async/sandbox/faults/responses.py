"""Endings: what a client gets in the place of an answer, by one word, some with an argument behind a colon.

An ending is told what the API said, or None where the request never reached it. It makes one `Reply` of that:

- one of its own, such as the page of a gateway, and the API's answer is hidden;
- the API's answer, damaged, cut, dripped or lied about; where there is none, `STAND_IN` is damaged in its place;
- a connection that ends, or does not.

`ENDINGS` is the whole repertoire, in the order in which people should read it. A moment in a header, such as
`Retry-After` with a date, is told against the clock that is in the same answer's `Date`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeAlias

import attrs

from truecaller_async.sandbox.answers import (
    DeliveryMode,
    SandboxResponse,
    answer,
    error,
    forbidden,
    http_date,
    invalid,
    not_found,
    unparsed,
)

Make: TypeAlias = Callable[[SandboxResponse | None, str | None, float], SandboxResponse]
"""What the API said, the argument where one is given, and the server's clock."""

DEPTH = 100_000
DIGITS = 5_000
PACE = "0.1"
ELSEWHERE = "https://elsewhere.example/"

_SECONDS = re.compile(r"[0-9]{1,5}(\.[0-9]{1,6})?", re.ASCII)
_DATE = re.compile(r"date([+-][0-9]{1,8})", re.ASCII)

STAND_IN = answer({"message": "this request did not reach the API"})
"""What is damaged where the API was not asked."""


@attrs.frozen
class Argument:
    """What may stand behind the colon. `rule` ends the sentence "it must be"."""

    name: str
    rule: str
    is_good: Callable[[str], bool]


@attrs.frozen
class FaultResponse:
    """How the reply is made, and what argument it takes, if any."""

    make: Make
    argument: Argument | None = None


def _is_seconds(text: str) -> bool:
    return _SECONDS.fullmatch(text) is not None and float(text) > 0


def _is_wait(text: str) -> bool:
    """A date that is written wrongly would go out as a word, and nobody would notice."""
    if text[:4].lower() == "date":
        return _DATE.fullmatch(text) is not None
    return text.isprintable()


SECONDS = Argument("SECONDS", "seconds above 0 and below 100,000, with 6 decimals at most, such as 0.5", _is_seconds)
WAIT = Argument(
    "WAIT",
    'date+N or date-N, where N is 1 to 8 digits, or any text on one line that does not begin with "date"',
    _is_wait,
)
URL = Argument("URL", "any text on one line", str.isprintable)


def seconds_of(text: str) -> float:
    """The seconds in a good argument."""
    return float(text)


def find(step: str) -> tuple[FaultResponse, str | None] | None:
    """The ending that this step names, and its argument; None where it is no ending, or its argument is wrong."""
    name, colon, argument = step.partition(":")
    ending = FAULT_RESPONSES.get(name)
    if ending is None:
        return None
    if not colon:
        return ending, None
    is_good = ending.argument is not None and ending.argument.is_good(argument)
    return (ending, argument) if is_good else None


def rule_for(step: str) -> str:
    """What a step must be that is no ending."""
    name, colon, _ = step.partition(":")
    ending = FAULT_RESPONSES.get(name)
    if ending is None or not colon:
        return f"one of {', '.join(FAULT_RESPONSES)}"
    if ending.argument is None:
        return f"{name!r} without an argument"
    return f"{name}:{ending.argument.name}, with {ending.argument.rule}"


def _own(reply: SandboxResponse) -> Make:
    """Always this reply."""
    return lambda _said, _argument, _now: reply


def _page(status: int, title: str) -> SandboxResponse:
    """What a gateway says in the place of the API."""
    text = f"<html>\n<head><title>{status} {title}</title></head>\n<body><h1>{status} {title}</h1></body>\n</html>\n"
    return SandboxResponse(status, {"content-type": "text/html"}, text.encode())


def _later(reply: SandboxResponse) -> Make:
    """This reply; with an argument, that is its `Retry-After`."""

    def make(_said: SandboxResponse | None, argument: str | None, now: float) -> SandboxResponse:
        if argument is None:
            return reply
        date = _DATE.fullmatch(argument)
        wait = http_date(now + int(date[1])) if date else argument
        return attrs.evolve(reply, headers={**reply.headers, "retry-after": wait})

    return make


def _redirect(status: int) -> Make:
    def make(_said: SandboxResponse | None, argument: str | None, _now: float) -> SandboxResponse:
        return SandboxResponse(status, {"location": ELSEWHERE if argument is None else argument}, b"")

    return make


def _body(body: bytes) -> Make:
    """A 200 in JSON with this body."""
    return _own(attrs.evolve(STAND_IN, body=body))


def _damaged(said: SandboxResponse | None) -> SandboxResponse:
    """What there is to be damaged: an answer with a body."""
    return said if said is not None and said.body else STAND_IN


def _as_text(said: SandboxResponse | None, _argument: str | None, _now: float) -> SandboxResponse:
    reply = _damaged(said)
    return attrs.evolve(reply, headers={**reply.headers, "content-type": "text/plain; charset=utf-8"})


def _half(said: SandboxResponse | None, _argument: str | None, _now: float) -> SandboxResponse:
    reply = _damaged(said)
    return attrs.evolve(reply, body=reply.body[: len(reply.body) // 2])


def _in(manner: DeliveryMode) -> Make:
    """The API's own answer, in this manner."""
    return lambda said, _argument, _now: attrs.evolve(_damaged(said), mode=manner)


def _dripped(manner: DeliveryMode) -> Make:
    def make(said: SandboxResponse | None, argument: str | None, _now: float) -> SandboxResponse:
        return attrs.evolve(_damaged(said), mode=manner, pace=seconds_of(argument or PACE))

    return make


def _as_it_is(said: SandboxResponse | None, _argument: str | None, _now: float) -> SandboxResponse:
    if said is None:
        raise AssertionError("a request that is answered by the API has reached it")
    return said


def _everywhere(value: bytes) -> bytes:
    """An answer in which every call finds this value where it looks."""
    names = (b"token", b"batch_id", b"status", b"message", b"data", b"numbers", b"feature_sets", b"url")
    return b"{" + b", ".join(b'"%s": %s' % (name, value) for name in names) + b"}"


FAULT_RESPONSES: Mapping[str, FaultResponse] = MappingProxyType(
    {
        "answer": FaultResponse(_as_it_is),
        "reset": FaultResponse(_in(DeliveryMode.RESET)),
        "close": FaultResponse(_in(DeliveryMode.CLOSE)),
        "stall": FaultResponse(_in(DeliveryMode.STALL)),
        "400": FaultResponse(_own(invalid("the request is not valid"))),
        "401": FaultResponse(_own(error(401, "authorization-error", "please login again"))),
        "403": FaultResponse(_own(forbidden())),
        "404": FaultResponse(_own(not_found("there is no such thing"))),
        "parse-token": FaultResponse(_own(unparsed())),
        "500": FaultResponse(_own(error(500, "internal-server-error", "something went wrong"))),
        "502": FaultResponse(_own(_page(502, "Bad Gateway"))),
        "503": FaultResponse(_later(_page(503, "Service Unavailable")), WAIT),
        "504": FaultResponse(_own(_page(504, "Gateway Timeout"))),
        "520": FaultResponse(_own(_page(520, "Unknown Error"))),
        "429": FaultResponse(_later(answer({"message": "Too Many Requests"}, 429)), WAIT),
        **{str(status): FaultResponse(_redirect(status), URL) for status in (301, 302, 303, 307, 308)},
        "html": FaultResponse(_own(_page(200, "Sign in"))),
        "text": FaultResponse(_as_text),
        "half": FaultResponse(_half),
        "empty": FaultResponse(_body(b"")),
        "object": FaultResponse(_body(b"{}")),
        "list": FaultResponse(_body(b"[]")),
        "null": FaultResponse(_body(b"null")),
        "bad-utf8": FaultResponse(_body(_everywhere(b'"\xff\xfe"'))),
        "nan": FaultResponse(_body(_everywhere(b"NaN"))),
        "deep": FaultResponse(_body(b"[" * DEPTH)),
        "digits": FaultResponse(_body(_everywhere(b"9" * DIGITS))),
        "surrogate": FaultResponse(_body(_everywhere(b'"\\ud800"'))),
        "cut": FaultResponse(_in(DeliveryMode.CUT)),
        "cut-chunked": FaultResponse(_in(DeliveryMode.CUT_CHUNKED)),
        "cut-unmarked": FaultResponse(_in(DeliveryMode.CUT_UNMARKED)),
        "long-length": FaultResponse(_in(DeliveryMode.LONG_LENGTH)),
        "short-length": FaultResponse(_in(DeliveryMode.SHORT_LENGTH)),
        "two-lengths": FaultResponse(_in(DeliveryMode.TWO_LENGTHS)),
        "huge": FaultResponse(_own(attrs.evolve(STAND_IN, mode=DeliveryMode.HUGE))),
        "endless": FaultResponse(_own(attrs.evolve(STAND_IN, mode=DeliveryMode.ENDLESS))),
        "bomb": FaultResponse(_own(attrs.evolve(STAND_IN, mode=DeliveryMode.BOMB))),
        "drip": FaultResponse(_dripped(DeliveryMode.DRIP), SECONDS),
        "drip-headers": FaultResponse(_dripped(DeliveryMode.DRIP_HEADERS), SECONDS),
        "garbage": FaultResponse(_in(DeliveryMode.GARBAGE)),
        "not-http": FaultResponse(_in(DeliveryMode.NOT_HTTP)),
        "long-header": FaultResponse(_in(DeliveryMode.LONG_HEADER)),
    }
)
"""Everything that can be said in the place of the API's own answer, by name."""
