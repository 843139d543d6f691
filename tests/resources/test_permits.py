"""Each request ends its permit: by its answer, as given up, or as not sent."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable

import pytest

from tests.resources.script import PUSHED, Script, Step, client_of, playing, record, throttled
from tests.virtual import run_virtual
from truecaller_async import Limits, NotSent, ResponseLost, Timeouts, TruecallerError
from truecaller_async.errors import ClientClosed, ConfigError, DecodeError
from truecaller_async.models import Answer, Request
from truecaller_async.resources.executor import end_permit
from truecaller_async.tokens import TokenPool

LATENCY_SECONDS = 0.1
ONE_A_MINUTE = Limits.documented().replace(token=(1, 60.0))


def given_up() -> ResponseLost:
    error = ResponseLost("the peer sent no data")
    error.given_up = True
    return error


class Ends:
    """A permit that records its ends."""

    token_id = "0123456789ab"
    at = 0.0

    def __init__(self) -> None:
        self.seen: list[str] = []

    def done(self, at: float) -> None:
        self.seen.append("done")

    def lost(self, at: float) -> None:
        self.seen.append("lost")

    def cancel(self) -> None:
        self.seen.append("cancel")


@pytest.mark.parametrize(
    ("error", "end"),
    [
        (NotSent("no connection"), "cancel"),
        (ConfigError("the header is refused"), "cancel"),
        (ClientClosed("closed"), "cancel"),
        (ResponseLost("the connection broke"), "done"),
        (DecodeError("the answer is too large"), "done"),
        (given_up(), "lost"),
        (asyncio.CancelledError(), "lost"),
        (KeyError("a defect"), "lost"),
    ],
)
def test_error_decides_how_a_permit_ends(error: BaseException, end: str) -> None:
    permit = Ends()
    end_permit(permit, error, 1.0)
    assert permit.seen == [end]


def open_permits(pool: TokenPool) -> int:
    return pool._records.open_permits


@pytest.mark.parametrize("make", [lambda: PUSHED, throttled, given_up, lambda: NotSent("x"), lambda: KeyError("x")])
def test_no_call_leaves_a_permit_open(make: Callable[[], Step]) -> None:
    async def scene() -> None:
        client = client_of(playing(make()))
        with contextlib.suppress(TruecallerError, KeyError):
            await client.calls.push(record(), deadline=20.0)
        assert open_permits(client._shared.pool) == 0

    run_virtual(scene)


@pytest.mark.parametrize("turns", range(12))
def test_cancelled_call_leaves_no_permit_open(turns: int) -> None:
    async def scene() -> None:
        client = client_of(playing(PUSHED))
        await client.calls.push(record())
        call = asyncio.create_task(client.calls.push(record()))
        for _ in range(turns):
            await asyncio.sleep(0)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        assert open_permits(client._shared.pool) == 0

    run_virtual(scene)


class SlowBody(Script):
    """A transport whose answers have a body that takes 30 s."""

    async def send(self, request: Request, timeouts: Timeouts) -> Answer:
        answer = await super().send(request, timeouts)
        at = asyncio.get_running_loop().time()
        await asyncio.sleep(30.0)
        return Answer(answer.status, answer.headers, answer.body, at)


def test_request_counts_at_the_headers_of_its_answer() -> None:
    async def scene() -> None:
        script = SlowBody(deque([PUSHED]), LATENCY_SECONDS)
        client = client_of(script, limits=ONE_A_MINUTE, max_tokens=1)
        for _ in range(2):
            await client.calls.push(record())
        assert script.times[1] - script.times[0] == pytest.approx(60.061 + LATENCY_SECONDS, abs=0.01)

    run_virtual(scene)
