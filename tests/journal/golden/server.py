"""The server of a golden campaign: a sandbox state that is restored from a log of its requests.

Equal requests at equal times give equal answers, including ids. So the log of the requests tells the next process
everything that the server knows: tokens, batches, applied records, and the requests in each rate window.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import attrs

from tests.crash.campaigns import row_of_reason
from tests.crash.checking import AppliedRecord
from truecaller_async.sandbox import SPEEDS, SandboxResponse, SandboxSettings, SandboxState
from truecaller_async.sandbox.routing import find

LoggedRequest: TypeAlias = tuple[float, str, str, int, str]
"""Wall-clock seconds, method, path, number of the token (0: none), body."""

KEY_MARK = "<api key>"
"""What the log has in place of the key of the sandbox."""

LIMITS = SPEEDS["fast"].replace(batch=(1, 0.1), token=(1, 0.02))
"""One request at a time, so the order of the requests is known."""

RECORDS_MAX = 1_000
TOO_LARGE = SandboxResponse(
    413, {"content-type": "application/json"}, b'{"slug": "invalid-input", "message": "payload too large"}'
)


@attrs.frozen
class Behaviour:
    """The behaviour of the server of a case."""

    resolve_after: float = 0.5
    """Seconds until the first record of a batch is final."""
    resolve_spread: float = 0.0
    """Seconds from the first to the last final record of a batch."""
    too_large: bool = False
    """Answer the first batch with 413."""

    def settings(self) -> SandboxSettings:
        """Return the settings of the sandbox: all requests over a limit are counted."""
        return SandboxSettings(limits=LIMITS, resolve_after=self.resolve_after, resolve_spread=self.resolve_spread)


class LoggedServer(SandboxState):
    """Sandbox state that logs each request before it handles it.

    Args:
        behaviour: How it behaves.
        log: Called with each request.
        handled: Called after each request with its call and the number of such requests.
    """

    def __init__(
        self,
        behaviour: Behaviour,
        log: Callable[[LoggedRequest], None] = lambda _: None,
        handled: Callable[[str, int], None] = lambda *_: None,
    ) -> None:
        super().__init__(behaviour.settings())
        self._behaviour = behaviour
        self._log = log
        self._handled = handled
        self._counts: Counter[str] = Counter()
        self._token_numbers: dict[str, int] = {}

    def handle(self, method: str, path_qs: str, headers: Mapping[str, str], body: bytes, now: float) -> SandboxResponse:
        call = call_of(method, path_qs)
        self._counts[call] += 1
        if self._behaviour.too_large and call == "submit" and self._counts[call] == 1:
            return TOO_LARGE
        token = headers.get("authorization", "").removeprefix("Bearer ")
        text = body.decode().replace(self.settings.api_key.reveal(), KEY_MARK)
        self._log((now, method, path_qs, self._token_numbers.get(token, 0), text))
        reply = self._handle(method, path_qs, headers, body, now)
        self._handled(call, self._counts[call])
        return reply

    def replay(self, requests: Sequence[LoggedRequest]) -> None:
        """Handle the requests of a log again."""
        tokens = {0: ""}
        for now, method, path, number, text in requests:
            headers = {"content-type": "application/json"}
            if number:
                headers["authorization"] = f"Bearer {tokens[number]}"
            body = text.replace(KEY_MARK, self.settings.api_key.reveal()).encode()
            self._handle(method, path, headers, body, now)
            tokens = {0: ""} | {number: token for token, number in self._token_numbers.items()}

    def applied(self) -> list[AppliedRecord]:
        """Return the records that it applied, in their order."""
        entries = self.truth(0, RECORDS_MAX)
        return [AppliedRecord(row_of_reason(entry.reason), entry.outcome == "success") for entry in entries]

    def _handle(self, method: str, path: str, headers: Mapping[str, str], body: bytes, now: float) -> SandboxResponse:
        reply = super().handle(method, path, headers, body, now)
        if call_of(method, path) == "mint" and reply.status < 300:
            self._token_numbers.setdefault(_token_in(reply.body), len(self._token_numbers) + 1)
        return reply


def call_of(method: str, path: str) -> str:
    """Return the call of a request of a campaign."""
    target = find(method, path)
    assert not isinstance(target, SandboxResponse), f"a campaign does not send {method} {path}"
    return target.route.call


def read_log(path: Path) -> list[LoggedRequest]:
    """Return the requests of a log file."""
    lines = path.read_text().splitlines() if path.exists() else []
    return [tuple(json.loads(line)) for line in lines]


def log_writer(path: Path) -> Callable[[LoggedRequest], None]:
    """Return a function that appends a request to a log file; it stays there if the process is killed."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    return lambda request: void(os.write(descriptor, json.dumps(request).encode() + b"\n"))


def void(_: object) -> None:
    """Discard a value."""


def _token_in(body: bytes) -> str:
    token: str = json.loads(body)["token"]
    return token
