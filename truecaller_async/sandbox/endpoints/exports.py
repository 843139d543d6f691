"""Deprecated exports: a link to a file, and the file.

Documented: the two paths, their required parameters, the answer is a URL, the link is valid for 10 minutes. The body of
the answer is not documented; its form is a setting. Chosen by the sandbox:

- missing or non-integer parameters are 400 `{"message"}`, the documented form of an export error;
- the file is CSV with generated lines, always the same for the same link;
- an expired or unknown link is 404;
- if there are more than `LINKS_MAX` links, the oldest are removed.

The link has the host of the request and needs no token.
"""

from __future__ import annotations

import random
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping

import attrs

from truecaller_async.sandbox.answers import SandboxResponse, answer, not_found, rfc3339
from truecaller_async.sandbox.faults.response_variants import ResponseVariant
from truecaller_async.sandbox.routing import RouteTarget
from truecaller_async.sandbox.settings import SandboxSettings

PATH = "/_sandbox/exports/"
LINK_LIFE_SECONDS = 600.0
"""Time for which a link is valid."""
LINKS_MAX = 10_000
"""Links that are stored."""
FILE_LINES = 12
"""Lines of a file."""
FILE_SPAN_SECONDS = 86_400.0
"""Maximum age of the lines of a file when its link is created."""

NO_EXPORT = "No CMB found for client Id"
_HOST = re.compile(r"[\w.:\[\]-]{1,255}", re.ASCII)
_SECONDS = re.compile(r"[0-9]{1,15}", re.ASCII)


@attrs.frozen
class _FileKind:
    """Kind of file: its columns and the possible values of the last one."""

    columns: tuple[str, ...]
    last_column_values: tuple[str, ...]


FEEDBACK = _FileKind(("phone_number", "at", "answer"), ("helpful", "not helpful", "wrong person"))
CALLBACK = _FileKind(("phone_number", "at", "slot"), ("morning", "afternoon", "not interested"))


@attrs.frozen
class _Link:
    kind: _FileKind
    given_at: float


class ExportApi:
    """Export links of one account; `new_id` returns a new UUID."""

    def __init__(self, settings: SandboxSettings, new_id: Callable[[], str]) -> None:
        self._settings = settings
        self._new_id = new_id
        self._links: OrderedDict[str, _Link] = OrderedDict()

    def user_feedback(self, target: RouteTarget, headers: Mapping[str, str], now: float) -> SandboxResponse:
        """Return a link to the answers of a survey."""
        return self._request_link(FEEDBACK, target, ("from_date",), headers, now)

    def call_me_back(self, target: RouteTarget, headers: Mapping[str, str], now: float) -> SandboxResponse:
        """Return a link to the requests for a call back."""
        return self._request_link(CALLBACK, target, ("from", "to"), headers, now)

    def file(self, name: str, now: float) -> SandboxResponse:
        """Return the file of a link, by the last segment of its path."""
        link = self._links.get(name)
        if link is None or now >= link.given_at + LINK_LIFE_SECONDS:
            return not_found(f"no such file: a link is valid for {LINK_LIFE_SECONDS / 60:.0f} minutes")
        return SandboxResponse(200, {"content-type": "text/csv"}, _csv(name, link).encode())

    def _request_link(
        self, kind: _FileKind, target: RouteTarget, required: tuple[str, ...], headers: Mapping[str, str], now: float
    ) -> SandboxResponse:
        for name in required:
            value = target.query_value(name)
            if value is None:
                return answer({"message": f"{name} is required"}, 400)
            if not _SECONDS.fullmatch(value):
                return answer({"message": f"{name} must be a whole number"}, 400)
        if ResponseVariant.BROKEN_EXPORTS in self._settings.response_variants:
            return answer({"message": NO_EXPORT}, 400)
        return self._answer(f"http://{_host(headers)}{PATH}{self._new_link(kind, now)}")

    def _new_link(self, kind: _FileKind, now: float) -> str:
        name = f"{self._new_id()}.csv"
        self._links[name] = _Link(kind, now)
        while len(self._links) > LINKS_MAX or next(iter(self._links.values())).given_at + LINK_LIFE_SECONDS <= now:
            self._links.popitem(last=False)
        return name

    def _answer(self, url: str) -> SandboxResponse:
        if self._settings.export_shape == "text":
            return SandboxResponse(200, {"content-type": "text/plain; charset=utf-8"}, url.encode())
        return answer(url if self._settings.export_shape == "string" else {"url": url})


def _host(headers: Mapping[str, str]) -> str:
    host = headers.get("host", "")
    return host if _HOST.fullmatch(host) else "sandbox.example"


def _csv(name: str, link: _Link) -> str:
    rng = random.Random(name)  # noqa: S311 - repeatable on purpose, guards nothing
    rows = [link.kind.columns]
    for _ in range(FILE_LINES):
        number = f"9198{rng.randrange(10**8):08d}"
        rows.append(
            (
                number,
                rfc3339(link.given_at - rng.uniform(0, FILE_SPAN_SECONDS)),
                rng.choice(link.kind.last_column_values),
            )
        )
    return "".join(",".join(row) + "\n" for row in rows)
