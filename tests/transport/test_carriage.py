"""The table of tests/carriage.py agrees with the real transport over real sockets, for each delivery mode.

Each mode is tested with a read and a write, before and after the API received the request. The truth log shows which
requests reached it. The sockets are real and the clock is virtual: the seconds are those of the default timeouts, to a
hundredth.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import attrs
import msgspec
import pytest

from tests.carriage import carried
from tests.virtual import VirtualClock, run_virtual
from truecaller_async.errors import DecodeError, ResponseLost, TruecallerError
from truecaller_async.models import Answer, Request, Secret
from truecaller_async.options import Timeouts
from truecaller_async.sandbox import SPEEDS, Fault, FaultPlan, Sandbox, SandboxResponse, SandboxSettings
from truecaller_async.sandbox.faults.responses import FAULT_RESPONSES
from truecaller_async.transport import AiohttpTransport

TIMEOUTS = Timeouts()
FULL_WIDTH = "\N{FULLWIDTH DIGIT ONE}\N{FULLWIDTH DIGIT TWO}\N{FULLWIDTH DIGIT ZERO}"
NOW_MS = 4_102_444_800_000

STEPS = (
    *((name,) for name in FAULT_RESPONSES if name not in ("answer", "drip", "drip-headers")),
    *((f"429:{wait}",) for wait in ("120", "date+5", "date-5", "soon", "-5", "120.5", "99999999999", FULL_WIDTH, "")),
    ("503:7",),
    ("307:https://elsewhere.example/v2?x=1",),
    *((f"drip{part}:{pace}",) for part in ("", "-headers") for pace in ("0.1", "1", "10", "29.9", "30", "31")),
    *((delay, ending) for delay in ("delay:2", "delay:29.9", "delay:30", "delay:31")
      for ending in ("503", "huge", "stall", "reset", "long-length", "drip:10", "drip-headers:1")),
)  # fmt: skip


@attrs.define
class Setup:
    """A sandbox and the real transport to it; `replies` are the replies of the sandbox in order."""

    sandbox: Sandbox
    transport: AiohttpTransport
    token: Secret | None = None
    replies: dict[str, list[SandboxResponse]] = attrs.field(factory=dict)

    def request(self, call: str) -> Request:
        account = f"/clients/{self.sandbox.settings.client_account_id}"
        if call == "labels":
            return Request("labels", "GET", f"{account}/labels", token=self.token)
        numbers = {"caller_number": "911234500001", "receiver_number": "919234500001"}
        record = {**numbers, "starts_at": NOW_MS, "ends_at": NOW_MS + 3_600_000}
        body = msgspec.json.encode({"call_records": [record]})
        return Request("submit", "POST", f"/v2{account}/dynamic_call_records", body, token=self.token)

    async def exchange(self, call: str) -> tuple[float, Answer | TruecallerError, SandboxResponse]:
        """Send one request and return its result, its duration in seconds, and the reply of the sandbox."""
        started = asyncio.get_running_loop().time()
        try:
            actual: Answer | TruecallerError = await self.transport.send(self.request(call), TIMEOUTS)
        except TruecallerError as error:
            actual = error
        return asyncio.get_running_loop().time() - started, actual, self.replies[call][-1]

    async def log_in(self) -> None:
        settings = self.sandbox.settings
        body = msgspec.json.encode({"key_id": settings.key_id, "api_key": settings.api_key.reveal()})
        mint = Request("mint", "POST", f"/clients/{settings.client_account_id}/token", body)
        answer = await self.transport.send(mint, Timeouts())
        self.token = Secret(msgspec.json.decode(answer.body)["token"])

    def listen(self) -> None:
        handle = self.sandbox.state.handle

        def recorded(method: str, path: str, headers: Mapping[str, str], body: bytes, now: float) -> SandboxResponse:
            reply = handle(method, path, headers, body, now)
            self.replies.setdefault("labels" if method == "GET" else "submit", []).append(reply)
            return reply

        self.sandbox.state.handle = recorded  # type: ignore[method-assign, assignment]


@asynccontextmanager
async def setup_with(*faults: Fault) -> AsyncIterator[Setup]:
    settings = SandboxSettings(faults=FaultPlan(faults), limits=SPEEDS["off"], resolve_after=0.0)
    async with await Sandbox.start(settings, clock=VirtualClock().wall) as sandbox:
        setup = Setup(sandbox, AiohttpTransport(sandbox.base_url))
        try:
            await setup.log_in()
            setup.listen()
            yield setup
        finally:
            await setup.transport.aclose()


def agree(actual: Answer | TruecallerError, expected: Answer | TruecallerError) -> bool:
    """Return whether the transport and the table agree in all that other code depends on."""
    if isinstance(expected, Answer):
        return (
            isinstance(actual, Answer)
            and (actual.status, actual.body) == (expected.status, expected.body)
            and expected.headers.items() <= actual.headers.items()
        )
    if type(actual) is not type(expected):
        return False
    assert isinstance(actual, TruecallerError)
    if (actual.sent, actual.retryable) != (expected.sent, expected.retryable):
        return False
    if isinstance(expected, DecodeError):
        return vars(actual) == vars(expected) and str(actual) == str(expected)
    reason = str(expected).removeprefix("sandbox: ").partition(";")[0]
    return isinstance(actual, ResponseLost) and reason in str(actual)


async def both(setup: Setup) -> None:
    """Check that a read and a write end as the table says, and at the time that it says."""
    ended = await asyncio.gather(setup.exchange("labels"), setup.exchange("submit"))
    for (seconds, actual, reply), is_read in zip(ended, (True, False), strict=True):
        latest, expected = carried(reply, is_read, TIMEOUTS)
        assert agree(actual, expected), (is_read, actual, expected)
        assert seconds == pytest.approx(latest, abs=0.01), (is_read, actual)


@pytest.mark.parametrize("steps", STEPS, ids="+".join)
def test_every_failure_becomes_the_error_in_the_table(steps: tuple[str, ...]) -> None:
    plan = [
        Fault(call=call, nth=nth, do=(*applied, *steps))
        for call in ("labels", "batch.submit")
        for nth, applied in enumerate(((), ("apply",)), 1)
    ]

    async def work() -> None:
        async with setup_with(*plan) as setup:
            for reached in (0, 1):
                await both(setup)
                stats = setup.sandbox.stats()
                assert [sum(stats.requests.get(call, {}).values()) for call in ("labels", "submit")] == [reached] * 2
                assert len(setup.sandbox.state.truth()) == reached
            assert {call: sum(done.values()) for call, done in stats.faults.items()} == {"labels": 2, "batch.submit": 2}

    run_virtual(work)


@pytest.mark.parametrize(
    "steps", [("apply", "delay:2"), ("apply", "delay:2", "answer"), ("apply", "delay:31")], ids="+".join
)
def test_late_answer_of_the_api_is_accepted(steps: tuple[str, ...]) -> None:
    async def work() -> None:
        async with setup_with(Fault(call="token", do=("apply",)), Fault(call="*", do=steps)) as setup:
            await both(setup)
            assert [reply.status for replies in setup.replies.values() for reply in replies] == [200, 200]

    run_virtual(work)
