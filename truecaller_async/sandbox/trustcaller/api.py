"""State of the TrustCaller account of the sandbox. No I/O and no clock.

`TrustCallerState.handle` takes one request and the time, and returns one answer. The same requests at the same times
give the same answers, including tokens.

Checks of a request in this order: path and method (404, 405); `Accept: application/json` (406); token (401); rate limit
over all keys (429 with `Retry-After`); permissions (403); content (422, 404). The rate limit counts no request that was
rejected before it.

Documented: all answers of 200 and 201; the bodies of 401, 403, 422 and of the 404 of a call. Chosen by the sandbox: the
bodies of other 404, of 405, 406 and 429; the limit applies to the account; a date is a day in UTC, and `to` is
inclusive; a key can revoke itself; key management needs both permissions. Links to other pages are absolute and omit
the filters, so that a client that follows them instead of counting pages gets wrong results.
"""

from __future__ import annotations

import math
import random
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, TypeAlias
from urllib.parse import parse_qsl

import attrs
import msgspec

from truecaller_async.models import Secret
from truecaller_async.sandbox.answers import SandboxResponse, answer
from truecaller_async.sandbox.sliding_log import SlidingLog
from truecaller_async.sandbox.trustcaller.settings import (
    API_ACCESS,
    FIRST_KEY_ID,
    KEYS_MANAGE,
    TEST_NUMBERS,
    SandboxCall,
    SandboxNumber,
    TrustCallerSettings,
    random_token,
)

PREFIX = "/trustcaller/api/v1"
PER_PAGE = 100
PER_PAGE_MAX = 1000
NAME_MAX = 64
MASKED_DIGITS = 3
"""Digits of a caller number that are masked in answers."""
CACHED_FOR_SECONDS = 300
"""Value of `cached_for_seconds` in the list of test numbers."""

_POSITIVE_INT = re.compile(r"[1-9][0-9]{0,8}", re.ASCII)
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_DIGITS = re.compile(r"[0-9]+", re.ASCII)


@attrs.define
class _Key:
    """Key of the account; `secret` is returned once, at its creation."""

    id: int
    name: str
    secret: Secret
    created_at: float
    last_used_at: float | None = None


@attrs.frozen(repr=False)
class _Request:
    query: Mapping[str, str]
    body: bytes
    now: float
    url: str
    item_id: int | None = None


Handler: TypeAlias = Callable[[_Request], SandboxResponse]


class RefusedError(Exception):
    """Raised to reject the content of a request; contains the answer."""

    def __init__(self, reply: SandboxResponse) -> None:
        self.reply = reply
        super().__init__(f"HTTP {reply.status}")


class TrustCallerState:
    """One TrustCaller account; `requests` counts answers by status."""

    def __init__(self, settings: TrustCallerSettings | None = None) -> None:
        self.settings = settings or TrustCallerSettings()
        self.requests: Counter[int] = Counter()
        self._now = 0.0
        self._rng = random.Random(f"trustcaller keys {self.settings.seed}")  # noqa: S311 - repeatable on purpose
        made = self.settings.numbers[0].created_at if self.settings.numbers else datetime(2026, 1, 15, tzinfo=UTC)
        self._keys = {FIRST_KEY_ID: _Key(FIRST_KEY_ID, "Sandbox", self.settings.token, made.timestamp())}
        self._last_key = FIRST_KEY_ID
        self._log = SlidingLog(self.settings.limit, self.settings.per)
        self._calls = sorted(self.settings.calls, key=lambda call: (call.start_at, call.id), reverse=True)
        self._routes: dict[str, dict[str, Handler]] = {
            "/numbers": {"GET": self._numbers},
            "/test-numbers": {"GET": self._test_numbers},
            "/calls": {"GET": self._call_list},
            "/calls/check": {"GET": self._check},
            "/calls/*": {"GET": self._call},
            "/auth/keys": {"GET": self._key_list, "POST": self._create_key},
            "/auth/keys/*": {"DELETE": self._revoke_key},
        }

    @property
    def peak(self) -> int:
        """Most requests admitted in one window."""
        return self._log.peak

    def handle(self, method: str, path_qs: str, headers: Mapping[str, str], body: bytes, now: float) -> SandboxResponse:
        """Answer one request. Raises nothing.

        Args:
            method: HTTP method.
            path_qs: path and query.
            headers: headers with lower-case names.
            body: body in bytes.
            now: wall-clock seconds.
        """
        self._now = now = max(self._now, now)
        reply = self._answer(method, path_qs, headers, body, now)
        self.requests[reply.status] += 1
        return reply

    def _answer(
        self, method: str, path_qs: str, headers: Mapping[str, str], body: bytes, now: float
    ) -> SandboxResponse:
        path, _, query = path_qs.partition("?")
        route, item = _route_of(path.removeprefix(PREFIX))
        handlers = self._routes.get(route)
        if handlers is None:
            return _message(404, "The route could not be found.")
        if method not in handlers:
            return _message(405, f"The {method} method is not supported for this route.", allow=", ".join(handlers))
        refused = self._check_access(route, headers, now)
        if refused is not None:
            return refused
        host = headers.get("host", "")
        url = f"http://{host if host.isascii() else ''}{path}"
        request = _Request(dict(parse_qsl(query, keep_blank_values=True)), body, now, url, item)
        try:
            return handlers[method](request)
        except RefusedError as refusal:
            return refusal.reply

    def _check_access(self, route: str, headers: Mapping[str, str], now: float) -> SandboxResponse | None:
        if "application/json" not in headers.get("accept", ""):
            return _message(406, "Every request must send Accept: application/json.")
        key = self._key_of(headers)
        if key is None:
            return _message(401, "Unauthenticated.")
        wait = self._log.wait(now)
        if wait:
            return _message(429, "Too Many Attempts.", **{"retry-after": str(math.ceil(wait))})
        self._log.admit(now)
        key.last_used_at = now
        needed = {API_ACCESS, KEYS_MANAGE} if route.startswith("/auth/") else {API_ACCESS}
        return None if needed <= self.settings.permissions else _message(403, "This action is unauthorized.")

    def _key_of(self, headers: Mapping[str, str]) -> _Key | None:
        scheme, _, value = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not value.isascii():
            return None
        given = Secret(value.strip())
        return next((key for key in self._keys.values() if key.secret == given), None)

    def _numbers(self, request: _Request) -> SandboxResponse:
        return _page(request, self.settings.numbers, _number_json)

    def _test_numbers(self, request: _Request) -> SandboxResponse:
        prefix = request.query.get("prefix")
        if prefix is not None and not _DIGITS.fullmatch(prefix):
            raise _invalid("prefix", "The prefix field must only contain digits.")
        found = [
            {"prefix": known, "test_number": number}
            for known, number in TEST_NUMBERS.items()
            if prefix is None or number.startswith(prefix)
        ]
        return answer(
            {"data": found, "count": len(found), "cached_for_seconds": CACHED_FOR_SECONDS, "filtered_by_prefix": prefix}
        )

    def _call_list(self, request: _Request) -> SandboxResponse:
        first, last = _day(request, "from"), _day(request, "to")
        found = [
            call
            for call in self._calls
            if (first is None or call.start_at.astimezone(UTC).date() >= first)
            and (last is None or call.start_at.astimezone(UTC).date() <= last)
        ]
        return _page(request, found, _call_json)

    def _call(self, request: _Request) -> SandboxResponse:
        for call in self._calls:
            if call.id == request.item_id:
                return answer({"data": _call_json(call)})
        return _not_found("Call record not found.")

    def _check(self, request: _Request) -> SandboxResponse:
        number = request.query.get("number")
        if not number:
            raise _invalid("number", "The number field is required.")
        own_numbers = {entry.number for entry in self.settings.numbers}
        return answer({"call_received": number in own_numbers and number in self.settings.live})

    def _key_list(self, request: _Request) -> SandboxResponse:
        found = [
            {
                "id": key.id,
                "name": key.name,
                "last_used_at": None if key.last_used_at is None else _rfc3339(key.last_used_at),
                "created_at": _rfc3339(key.created_at),
            }
            for key in self._keys.values()
        ]
        return answer({"data": found, "count": len(found)})

    def _create_key(self, request: _Request) -> SandboxResponse:
        name = _key_name(request.body)
        self._last_key += 1
        key = _Key(self._last_key, name, Secret(random_token(self._rng, self._last_key)), request.now)
        self._keys[key.id] = key
        created = {
            "id": key.id,
            "name": key.name,
            "token": key.secret.reveal(),
            "created_at": _rfc3339(key.created_at),
            "message": "Save this token now. It cannot be retrieved later.",
        }
        return answer(created, 201)

    def _revoke_key(self, request: _Request) -> SandboxResponse:
        if self._keys.pop(request.item_id or 0, None) is None:
            return _not_found("API key not found.")
        return _message(200, "API key revoked.")


def _route_of(path: str) -> tuple[str, int | None]:
    """Return the pattern of a path and the id in it. `/calls/check` has no id."""
    head, _, last = path.rpartition("/")
    if head in ("/calls", "/auth/keys") and _POSITIVE_INT.fullmatch(last):
        return f"{head}/*", int(last)
    return ("" if path.endswith("*") else path), None


def _page(request: _Request, items: Sequence[Any], to_json: Callable[[Any], dict[str, object]]) -> SandboxResponse:
    number = _positive_int(request, "page", 1, None)
    per_page = _positive_int(request, "per_page", PER_PAGE, PER_PAGE_MAX)
    last = max(1, -(-len(items) // per_page))

    def link(page: int) -> str | None:
        return f"{request.url}?page={page}" if 1 <= page <= last else None

    cut = items[(number - 1) * per_page : number * per_page]
    return answer(
        {
            "data": [to_json(item) for item in cut],
            "links": {"first": link(1), "last": link(last), "prev": link(number - 1), "next": link(number + 1)},
            "meta": {"current_page": number, "per_page": per_page, "total": len(items)},
        }
    )


def _positive_int(request: _Request, name: str, default: int, maximum: int | None) -> int:
    text = request.query.get(name)
    if text is None:
        return default
    label = name.replace("_", " ")
    if not _POSITIVE_INT.fullmatch(text):
        raise _invalid(name, f"The {label} field must be at least 1.")
    if maximum is not None and int(text) > maximum:
        raise _invalid(name, f"The {label} field must not be greater than {maximum}.")
    return int(text)


def _day(request: _Request, name: str) -> date | None:
    text = request.query.get(name)
    if text is None:
        return None
    try:
        if _DAY.fullmatch(text):
            return date.fromisoformat(text)
    except ValueError:
        pass  # a day such as 2026-02-30 is rejected like any other text
    raise _invalid(name, f"The {name} field must match the format Y-m-d.")


def _key_name(body: bytes) -> str:
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        value = None
    name = value.get("name") if isinstance(value, dict) else None
    if name is None or name == "":
        raise _invalid("name", "The name field is required.")
    if not isinstance(name, str):
        raise _invalid("name", "The name field must be a string.")
    if len(name) > NAME_MAX:
        raise _invalid("name", f"The name field must not be greater than {NAME_MAX} characters.")
    return name


def _number_json(number: SandboxNumber) -> dict[str, object]:
    return {
        "id": number.id,
        "number": number.number,
        "reserved": True,
        "released_at": None,
        "ivr_id": number.ivr_id,
        "created_at": _rfc3339(number.created_at.timestamp()),
    }


def _call_json(call: SandboxCall) -> dict[str, object]:
    return {
        "id": call.id,
        "caller_id": call.caller[:-MASKED_DIGITS] + "X" * MASKED_DIGITS,
        "number": call.number,
        "start_at": _rfc3339(call.start_at.timestamp()),
        "end_at": _rfc3339((call.start_at + timedelta(seconds=call.duration)).timestamp()),
        "duration": call.duration,
        "pdd": call.pdd,
        "call_unique_id": call.call_unique_id,
        "call_acceptable": call.call_acceptable,
        "short_call": call.short_call,
        "hang_cause": call.hang_cause,
    }


def _rfc3339(moment: float) -> str:
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%dT%H:%M:%S}+00:00"


def _message(status: int, message: str, **headers: str) -> SandboxResponse:
    return answer({"message": message}, status, headers)


def _not_found(message: str) -> SandboxResponse:
    return answer({"error": "not_found", "message": message}, 404)


def _invalid(field: str, message: str) -> RefusedError:
    return RefusedError(answer({"message": message, "errors": {field: [message]}}, 422))
