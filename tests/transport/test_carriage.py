"""The table of tests/carriage.py is what the real transport does, for every ending of a fault plan, over real sockets.

Each ending meets a read and a write, before and after the API was asked. The truth log tells which of them reached it.
The sockets are real and the clock is virtual: the seconds are those of the default timeouts, to a hundredth.
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
class Desk:
    """A sandbox and the real transport to it; `said` are the replies of the sandbox, in their order."""

    sandbox: Sandbox
    transport: AiohttpTransport
    token: Secret | None = None
    said: dict[str, list[SandboxResponse]] = attrs.field(factory=dict)

    def request(self, call: str) -> Request:
        account = f"/clients/{self.sandbox.settings.client_account_id}"
        if call == "labels":
            return Request("labels", "GET", f"{account}/labels", token=self.token)
        numbers = {"caller_number": "911234500001", "receiver_number": "919234500001"}
        record = {**numbers, "starts_at": NOW_MS, "ends_at": NOW_MS + 3_600_000}
        body = msgspec.json.encode({"call_records": [record]})
        return Request("submit", "POST", f"/v2{account}/dynamic_call_records", body, token=self.token)

    async def exchange(self, call: str) -> tuple[float, Answer | TruecallerError, SandboxResponse]:
        """What the transport makes of one request, after how many seconds, and what the sandbox said to it."""
        began = asyncio.get_running_loop().time()
        try:
            got: Answer | TruecallerError = await self.transport.send(self.request(call), TIMEOUTS)
        except TruecallerError as error:
            got = error
        return asyncio.get_running_loop().time() - began, got, self.said[call][-1]

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
            self.said.setdefault("labels" if method == "GET" else "submit", []).append(reply)
            return reply

        self.sandbox.state.handle = recorded  # type: ignore[method-assign, assignment]


@asynccontextmanager
async def desk_under(*faults: Fault) -> AsyncIterator[Desk]:
    settings = SandboxSettings(faults=FaultPlan(faults), limits=SPEEDS["off"], resolve_after=0.0)
    async with await Sandbox.start(settings, clock=VirtualClock().wall) as sandbox:
        desk = Desk(sandbox, AiohttpTransport(sandbox.base_url))
        try:
            await desk.log_in()
            desk.listen()
            yield desk
        finally:
            await desk.transport.aclose()


def alike(got: Answer | TruecallerError, told: Answer | TruecallerError) -> bool:
    """Whether the transport gave what the table says, as far as anything depends on it."""
    if isinstance(told, Answer):
        return (
            isinstance(got, Answer)
            and (got.status, got.body) == (told.status, told.body)
            and told.headers.items() <= got.headers.items()
        )
    if type(got) is not type(told):
        return False
    assert isinstance(got, TruecallerError)
    if (got.sent, got.retryable) != (told.sent, told.retryable):
        return False
    if isinstance(told, DecodeError):
        return vars(got) == vars(told) and str(got) == str(told)
    reason = str(told).removeprefix("sandbox: ").partition(";")[0]
    return isinstance(got, ResponseLost) and reason in str(got)


async def both(desk: Desk) -> None:
    """A read and a write at once end as the table says, and when it says."""
    ended = await asyncio.gather(desk.exchange("labels"), desk.exchange("submit"))
    for (seconds, got, reply), is_read in zip(ended, (True, False), strict=True):
        latest, told = carried(reply, is_read, TIMEOUTS)
        assert alike(got, told), (is_read, got, told)
        assert seconds == pytest.approx(latest, abs=0.01), (is_read, got)


@pytest.mark.parametrize("steps", STEPS, ids="+".join)
def test_every_failure_becomes_the_error_in_the_table(steps: tuple[str, ...]) -> None:
    plan = [
        Fault(call=call, nth=nth, do=(*applied, *steps))
        for call in ("labels", "batch.submit")
        for nth, applied in enumerate(((), ("apply",)), 1)
    ]

    async def work() -> None:
        async with desk_under(*plan) as desk:
            for reached in (0, 1):
                await both(desk)
                stats = desk.sandbox.stats()
                assert [sum(stats.requests.get(call, {}).values()) for call in ("labels", "submit")] == [reached] * 2
                assert len(desk.sandbox.state.truth()) == reached
            assert {call: sum(done.values()) for call, done in stats.faults.items()} == {"labels": 2, "batch.submit": 2}

    run_virtual(work)


@pytest.mark.parametrize(
    "steps", [("apply", "delay:2"), ("apply", "delay:2", "answer"), ("apply", "delay:31")], ids="+".join
)
def test_late_answer_of_the_api_is_accepted(steps: tuple[str, ...]) -> None:
    async def work() -> None:
        async with desk_under(Fault(call="token", do=("apply",)), Fault(call="*", do=steps)) as desk:
            await both(desk)
            assert [reply.status for replies in desk.said.values() for reply in replies] == [200, 200]

    run_virtual(work)
