"""Fault responses: what a client gets instead of the API's answer, by name, some with an argument.

A fault response receives the API's answer, or None if the request did not reach the API. It returns one of these:

- a fixed answer, such as the error page of a gateway; the API's answer is discarded;
- the API's answer with damage, or in a damaging delivery mode. If the API gave none, `PLACEHOLDER` is damaged;
- a connection that is closed or stays silent.

`FAULT_RESPONSES` lists all of them in the order of the documentation. A date in a header, such as `Retry-After`, is
relative to the `Date` of the same answer.
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
    token_parse_failure,
)

ResponseFactory: TypeAlias = Callable[[SandboxResponse | None, str | None, float], SandboxResponse]
"""Takes the API's answer, the argument of the step, and wall-clock seconds."""

NESTED_LISTS_COUNT = 100_000
"""Nesting depth of the body of "deep"."""
LONG_NUMBER_DIGITS = 5_000
"""Length of the integers of "digits"."""
DEFAULT_DRIP_SECONDS = "0.1"
"""Default argument of "drip" and "drip-headers"."""
REDIRECT_URL = "https://elsewhere.example/"

_SECONDS = re.compile(r"[0-9]{1,5}(\.[0-9]{1,6})?", re.ASCII)
_DATE = re.compile(r"date([+-][0-9]{1,8})", re.ASCII)

PLACEHOLDER = answer({"message": "this request did not reach the API"})
"""Answer that is damaged if the request did not reach the API."""


@attrs.frozen
class Argument:
    """Argument of a step. `rule` completes the sentence "it must be"."""

    name: str
    rule: str
    is_good: Callable[[str], bool]


@attrs.frozen
class FaultResponse:
    """Factory of an answer, and the argument that it takes."""

    make: ResponseFactory
    argument: Argument | None = None


def _is_seconds(text: str) -> bool:
    return _SECONDS.fullmatch(text) is not None and float(text) > 0


def _is_retry_after(text: str) -> bool:
    """Return whether the text is a valid argument.

    A misspelled date is rejected, because it would be sent as plain text without a warning.
    """
    if text[:4].lower() == "date":
        return _DATE.fullmatch(text) is not None
    return text.isprintable()


SECONDS = Argument("SECONDS", "seconds above 0 and below 100,000, with 6 decimals at most, such as 0.5", _is_seconds)
WAIT = Argument(
    "WAIT",
    'date+N or date-N, where N is 1 to 8 digits, or any text on one line that does not begin with "date"',
    _is_retry_after,
)
URL = Argument("URL", "any text on one line", str.isprintable)


def seconds_of(text: str) -> float:
    """Return the seconds of a valid argument."""
    return float(text)


def find(step: str) -> tuple[FaultResponse, str | None] | None:
    """Return the fault response and the argument that a step names; None if the step is not valid."""
    name, colon, argument = step.partition(":")
    response = FAULT_RESPONSES.get(name)
    if response is None:
        return None
    if not colon:
        return response, None
    is_good = response.argument is not None and response.argument.is_good(argument)
    return (response, argument) if is_good else None


def rule_for(step: str) -> str:
    """Return the rule that an invalid step breaks."""
    name, colon, _ = step.partition(":")
    response = FAULT_RESPONSES.get(name)
    if response is None or not colon:
        return f"one of {', '.join(FAULT_RESPONSES)}"
    if response.argument is None:
        return f"{name!r} without an argument"
    return f"{name}:{response.argument.name}, with {response.argument.rule}"


def _fixed(reply: SandboxResponse) -> ResponseFactory:
    """Return a factory that always returns this answer."""
    return lambda _api_answer, _argument, _now: reply


def _gateway_page(status: int, title: str) -> SandboxResponse:
    """Return the error page of a gateway."""
    text = f"<html>\n<head><title>{status} {title}</title></head>\n<body><h1>{status} {title}</h1></body>\n</html>\n"
    return SandboxResponse(status, {"content-type": "text/html"}, text.encode())


def _with_retry_after(reply: SandboxResponse) -> ResponseFactory:
    """Return a factory that adds its argument as `Retry-After`."""

    def make(_api_answer: SandboxResponse | None, argument: str | None, now: float) -> SandboxResponse:
        if argument is None:
            return reply
        date = _DATE.fullmatch(argument)
        wait = http_date(now + int(date[1])) if date else argument
        return attrs.evolve(reply, headers={**reply.headers, "retry-after": wait})

    return make


def _redirect(status: int) -> ResponseFactory:
    def make(_api_answer: SandboxResponse | None, argument: str | None, _now: float) -> SandboxResponse:
        return SandboxResponse(status, {"location": REDIRECT_URL if argument is None else argument}, b"")

    return make


def _json_body(body: bytes) -> ResponseFactory:
    """Return a factory for a 200 with this body, declared as JSON."""
    return _fixed(attrs.evolve(PLACEHOLDER, body=body))


def _answer_to_damage(api_answer: SandboxResponse | None) -> SandboxResponse:
    """Return the API's answer if it has a body, otherwise the placeholder."""
    return api_answer if api_answer is not None and api_answer.body else PLACEHOLDER


def _as_text(api_answer: SandboxResponse | None, _argument: str | None, _now: float) -> SandboxResponse:
    reply = _answer_to_damage(api_answer)
    return attrs.evolve(reply, headers={**reply.headers, "content-type": "text/plain; charset=utf-8"})


def _half(api_answer: SandboxResponse | None, _argument: str | None, _now: float) -> SandboxResponse:
    reply = _answer_to_damage(api_answer)
    return attrs.evolve(reply, body=reply.body[: len(reply.body) // 2])


def _delivered(mode: DeliveryMode) -> ResponseFactory:
    """Return a factory for the API's answer in this delivery mode."""
    return lambda api_answer, _argument, _now: attrs.evolve(_answer_to_damage(api_answer), mode=mode)


def _dripped(mode: DeliveryMode) -> ResponseFactory:
    def make(api_answer: SandboxResponse | None, argument: str | None, _now: float) -> SandboxResponse:
        return attrs.evolve(
            _answer_to_damage(api_answer), mode=mode, seconds_per_byte=seconds_of(argument or DEFAULT_DRIP_SECONDS)
        )

    return make


def _unchanged(api_answer: SandboxResponse | None, _argument: str | None, _now: float) -> SandboxResponse:
    if api_answer is None:
        raise AssertionError('the step "answer" needs the answer of the API')
    return api_answer


def _in_every_field(value: bytes) -> bytes:
    """Return a JSON object that has this value in each field that a client reads."""
    names = (b"token", b"batch_id", b"status", b"message", b"data", b"numbers", b"feature_sets", b"url")
    return b"{" + b", ".join(b'"%s": %s' % (name, value) for name in names) + b"}"


FAULT_RESPONSES: Mapping[str, FaultResponse] = MappingProxyType(
    {
        "answer": FaultResponse(_unchanged),
        "reset": FaultResponse(_delivered(DeliveryMode.RESET)),
        "close": FaultResponse(_delivered(DeliveryMode.CLOSE)),
        "stall": FaultResponse(_delivered(DeliveryMode.STALL)),
        "400": FaultResponse(_fixed(invalid("the request is not valid"))),
        "401": FaultResponse(_fixed(error(401, "authorization-error", "please login again"))),
        "403": FaultResponse(_fixed(forbidden())),
        "404": FaultResponse(_fixed(not_found("there is no such thing"))),
        "parse-token": FaultResponse(_fixed(token_parse_failure())),
        "500": FaultResponse(_fixed(error(500, "internal-server-error", "something went wrong"))),
        "502": FaultResponse(_fixed(_gateway_page(502, "Bad Gateway"))),
        "503": FaultResponse(_with_retry_after(_gateway_page(503, "Service Unavailable")), WAIT),
        "504": FaultResponse(_fixed(_gateway_page(504, "Gateway Timeout"))),
        "520": FaultResponse(_fixed(_gateway_page(520, "Unknown Error"))),
        "429": FaultResponse(_with_retry_after(answer({"message": "Too Many Requests"}, 429)), WAIT),
        **{str(status): FaultResponse(_redirect(status), URL) for status in (301, 302, 303, 307, 308)},
        "html": FaultResponse(_fixed(_gateway_page(200, "Sign in"))),
        "text": FaultResponse(_as_text),
        "half": FaultResponse(_half),
        "empty": FaultResponse(_json_body(b"")),
        "object": FaultResponse(_json_body(b"{}")),
        "list": FaultResponse(_json_body(b"[]")),
        "null": FaultResponse(_json_body(b"null")),
        "bad-utf8": FaultResponse(_json_body(_in_every_field(b'"\xff\xfe"'))),
        "nan": FaultResponse(_json_body(_in_every_field(b"NaN"))),
        "deep": FaultResponse(_json_body(b"[" * NESTED_LISTS_COUNT)),
        "digits": FaultResponse(_json_body(_in_every_field(b"9" * LONG_NUMBER_DIGITS))),
        "surrogate": FaultResponse(_json_body(_in_every_field(b'"\\ud800"'))),
        "cut": FaultResponse(_delivered(DeliveryMode.CUT)),
        "cut-chunked": FaultResponse(_delivered(DeliveryMode.CUT_CHUNKED)),
        "cut-unmarked": FaultResponse(_delivered(DeliveryMode.CUT_UNMARKED)),
        "long-length": FaultResponse(_delivered(DeliveryMode.LONG_LENGTH)),
        "short-length": FaultResponse(_delivered(DeliveryMode.SHORT_LENGTH)),
        "two-lengths": FaultResponse(_delivered(DeliveryMode.TWO_LENGTHS)),
        "huge": FaultResponse(_fixed(attrs.evolve(PLACEHOLDER, mode=DeliveryMode.HUGE))),
        "endless": FaultResponse(_fixed(attrs.evolve(PLACEHOLDER, mode=DeliveryMode.ENDLESS))),
        "bomb": FaultResponse(_fixed(attrs.evolve(PLACEHOLDER, mode=DeliveryMode.BOMB))),
        "drip": FaultResponse(_dripped(DeliveryMode.DRIP), SECONDS),
        "drip-headers": FaultResponse(_dripped(DeliveryMode.DRIP_HEADERS), SECONDS),
        "garbage": FaultResponse(_delivered(DeliveryMode.GARBAGE)),
        "not-http": FaultResponse(_delivered(DeliveryMode.NOT_HTTP)),
        "long-header": FaultResponse(_delivered(DeliveryMode.LONG_HEADER)),
    }
)
"""All fault responses by name."""
