"""Client, engine and sandbox state in one process on a virtual clock, without sockets.

The transport between them implements the real port, adds latency and faults from a seeded script, and records when each
request left, so that the rate law can be checked by counting. The loop clock drives everything and jumps from event to
event; a run of hours takes milliseconds and is the same for the same seed.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator
from random import Random
from typing import Any

import attrs

from tests.campaign.strict_observer import StrictObserver
from tests.carriage import carried
from tests.virtual import BASE, VirtualClock
from truecaller_async import (
    CallRecord,
    CampaignOptions,
    Limits,
    NotSent,
    Outcome,
    RecordResult,
    ResponseLost,
    RetryPolicy,
    Summary,
    Timeouts,
    TruecallerClient,
)
from truecaller_async.models import Answer, Request, Secret
from truecaller_async.options import Credentials
from truecaller_async.ports import Observer, Write
from truecaller_async.resources import ClientSettings
from truecaller_async.sandbox import SandboxSettings, SandboxState
from truecaller_async.tokens import MemoryTokenStore
from truecaller_async.tokens.pool import PoolSettings
from truecaller_async.wiring import Environment, build_resources

HOUR_MS = 3_600_000
LABEL = SandboxSettings().labels[0].id

Fault = Callable[[Request, int, Random], str | None]
"""Given a request, its number in its call, and the random generator: the fault, or None.

"not_sent", "lost_before", "lost_after" (applied or not), "500_before", "500_after", "429", "429:2" (Retry-After),
"401", "403", "302", "400", "empty" (applied, but a body without a batch id).
"""


@attrs.define
class SandboxTransport:
    """The `Transport` port, directly in front of the sandbox state."""

    state: SandboxState
    rng: Random
    latency: tuple[float, float] = (0.01, 0.05)
    fault: Fault | None = None
    sent: list[tuple[float, str, str]] = attrs.field(factory=list)
    counts: Counter[str] = attrs.field(factory=Counter)
    watch: Callable[[str, Request], None] = attrs.field(default=lambda *_: None)
    """Called with "out" when a request leaves and with "back" when it has ended."""
    dead: bool = False
    """Whether the process has died: nothing is sent any more."""

    async def send(self, request: Request, timeouts: Timeouts) -> Answer:
        self.watch("out", request)
        try:
            return await self._carry(request)
        finally:
            self.watch("back", request)

    async def download(
        self, link: Secret, write: Write, timeouts: Timeouts, *, hosts: Collection[str], max_bytes: int
    ) -> Answer:
        raise AssertionError("no campaign downloads a file")

    async def _carry(self, request: Request) -> Answer:
        if self.dead:
            raise NotSent("the process is dead")
        token = request.token.reveal() if request.token is not None else ""
        self.counts[request.call] += 1
        # Timers that end at the same time fire in any order.
        in_order = 1e-9 * (self.counts.total() % 1000) if any(self.latency) else 0.0
        wrong = self.fault(request, self.counts[request.call], self.rng) if self.fault is not None else None
        if wrong == "not_sent":
            raise NotSent("the network is unreachable")
        self.sent.append((asyncio.get_running_loop().time(), token, request.call))
        await asyncio.sleep(self.rng.uniform(*self.latency) + in_order)
        if (invented := _gateway_answer(wrong)) is not None:
            return invented
        if wrong == "lost_before":
            raise ResponseLost("the connection broke")
        headers = {"content-type": "application/json"}
        if token:
            headers["authorization"] = f"Bearer {token}"
        reply = self.state.handle(
            request.method, request.path, headers, request.body or b"", BASE + asyncio.get_running_loop().time()
        )
        await asyncio.sleep(self.rng.uniform(*self.latency) + in_order)
        if wrong == "lost_after":
            raise ResponseLost("the connection broke")
        if wrong == "500_after":
            return Answer(502, {"content-type": "text/html"}, b"<html>bad gateway</html>")
        if wrong == "empty":
            return Answer(200, {"content-type": "application/json"}, b"{}")
        seconds, came = carried(reply, request.is_read, Timeouts(), cap=request.body_max_bytes)
        await asyncio.sleep(seconds)
        if isinstance(came, Answer):
            return came
        raise came

    async def aclose(self) -> None:
        """Do nothing: there is no connection to close."""


def _gateway_answer(wrong: str | None) -> Answer | None:
    """Return an answer of a component in front of the server: nothing was applied."""
    name, _, argument = (wrong or "").partition(":")
    match name:
        case "500_before":
            return Answer(503, {"content-type": "text/html"}, b"<html>unavailable</html>")
        case "429":
            headers = {"retry-after": argument} if argument else {}
            return Answer(429, headers, b'{"slug": "too-many-requests", "message": "slow down"}')
        case "401":
            return Answer(401, {}, b'{"slug": "authorization-error", "message": "please login again"}')
        case "403":
            return Answer(
                403, {}, b'{"slug": "forbidden-error", "message": "not authorized. please contact your admin."}'
            )
        case "302":
            return Answer(302, {"location": "https://elsewhere.example/"}, b"")
        case "400":
            return Answer(400, {}, b'{"slug": "invalid-input", "message": "label_id is not accepted"}')
        case _:
            return None


class World:
    """One account, one client, one sandbox. Create it inside the virtual loop."""

    def __init__(
        self,
        *,
        seed: int = 0,
        settings: SandboxSettings | None = None,
        limits: Limits | None = None,
        max_tokens: int = 10,
        latency: tuple[float, float] = (0.01, 0.05),
        fault: Fault | None = None,
        retry: RetryPolicy | None = None,
        state: SandboxState | None = None,
        observer: Observer | None = None,
    ) -> None:
        self.state = state or SandboxState(settings or SandboxSettings(limits=limits or Limits.documented()))
        self.transport = SandboxTransport(self.state, Random(seed), latency, fault)
        known = self.state.settings
        credentials = Credentials(known.client_account_id, known.key_id, known.api_key)
        client_settings = ClientSettings(credentials, "v2", retry or RetryPolicy(), Timeouts())
        shared = build_resources(
            client_settings,
            self.transport,
            MemoryTokenStore(),
            PoolSettings(limits or known.limits, max_tokens),
            Environment(VirtualClock(), Random(seed + 1), observer or StrictObserver()),
        )
        self.client = TruecallerClient._from_parts(client_settings, shared)

    async def run(
        self, source: object, options: CampaignOptions | None = None
    ) -> tuple[list[RecordResult], Summary, Exception | None]:
        """Run a campaign; return all results, the summary, and the error that ended it, if any."""
        results: list[RecordResult] = []
        fault: Exception | None = None
        async with self.client, self.client.push_many(source, options=options) as stream:
            try:
                async for result in stream:
                    results.append(result)  # noqa: PERF401 - kept one by one, for the case that the stream raises
            except Exception as error:  # noqa: BLE001 - whatever it was, the test looks at it
                fault = error
        assert stream._run is not None
        assert not stream._run.progress.swept, "rows were left over until the end of the run"
        return results, stream.summary, fault


def record(number: int, *, starts: float = BASE, hours: float = 8, **other: Any) -> CallRecord:
    """Return a good record; the sandbox delivers to its receiver unless stated otherwise."""
    given: dict[str, Any] = {
        "caller": "911234567898",
        "receiver": f"91980{number:06d}0",
        "starts_at": int(starts * 1000),
        "ends_at": int(starts * 1000 + hours * HOUR_MS),
        "label_id": LABEL,
        "reason": "Calling you for KYC",
        "key": str(number),
    }
    return CallRecord(**{**given, **other})


def records(count: int, **other: Any) -> Iterator[CallRecord]:
    """Return so many different good records."""
    return (record(number, **other) for number in range(1, count + 1))


async def slowly(items: Iterable[CallRecord], seconds: float) -> AsyncIterator[CallRecord]:
    """Yield the records with a pause before each."""
    for item in items:
        await asyncio.sleep(seconds)
        yield item


def check_account(results: list[RecordResult], summary: Summary, state: SandboxState) -> None:
    """Check law 2, and the results against the log of the sandbox."""
    assert sorted(result.row for result in results) == list(range(1, summary.read + 1))
    assert summary.adds_up
    assert Counter(result.outcome for result in results) == Counter(
        {outcome: count for outcome in Outcome if (count := getattr(summary, outcome))}
    )
    applied = {(entry.receiver, entry.ends_at) for entry in state.truth(0, 10_000_000) if entry.outcome == "success"}
    for result in results:
        if result.outcome is Outcome.DELIVERED:
            assert result.record is not None
            assert (result.record.receiver, result.record.ends_at) in applied


def applications(state: SandboxState) -> Counter[str | None]:
    """Return how often the record of each receiver was applied."""
    return Counter(entry.receiver for entry in state.truth(0, 10_000_000))
