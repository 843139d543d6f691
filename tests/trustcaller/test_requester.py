"""Retries and the rate limit of the requester, on the virtual loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.resources.script import Script, answer, playing
from tests.virtual import most_in_window, run_virtual
from truecaller_async.errors import (
    AuthenticationFailed,
    ClientClosed,
    DecodeError,
    NotFound,
    NotSent,
    RateLimited,
    ResponseLost,
    ServerError,
    TruecallerError,
    WaitTooLong,
)
from truecaller_async.models import Answer, Request
from truecaller_async.options import NO_RETRY, Limits, RateLimit, RetryPolicy, Timeouts
from truecaller_async.sandbox import TrustCallerSettings, TrustCallerState
from truecaller_async.sandbox.trustcaller.api import PREFIX
from truecaller_async.trustcaller import TrustCallerClient

from .scripted_client import NOT_FOUND, REVOKED, SERVER_ERROR, TOKEN, client_of, numbers_page, sample_answer, throttled

LOST = ResponseLost("the connection broke")
UNSENT = NotSent("no connection")
LIVE = sample_answer("calls_check_response")
CREATED = sample_answer("create_key_response", 201)
WEB_PAGE = Answer(200, {}, b"<html>")


def run_call(
    call: Callable[[TrustCallerClient], Awaitable[object]], script: Script, **terms: Any
) -> tuple[object, TruecallerError | None]:
    """Return the result of a call with this script, or its error."""

    async def work() -> tuple[object, TruecallerError | None]:
        client = client_of(script, **terms)
        try:
            return await call(client), None
        except TruecallerError as error:
            return None, error
        finally:
            await client.aclose()

    return run_virtual(work)


def checking(client: TrustCallerClient) -> Awaitable[object]:
    return client.calls.check("120000486562997")


def creating(client: TrustCallerClient) -> Awaitable[object]:
    return client.keys.create("Production server")


def revoking(client: TrustCallerClient) -> Awaitable[object]:
    return client.keys.revoke(7)


@pytest.mark.parametrize("failure", [LOST, UNSENT, SERVER_ERROR, WEB_PAGE, throttled(3)], ids=repr)
def test_read_is_retried_after_any_temporary_error(failure: Any) -> None:
    script = playing(failure, failure, LIVE)
    assert run_call(checking, script) == (True, None)
    assert script.tokens == [TOKEN] * 3


@pytest.mark.parametrize("failure", [UNSENT, throttled(3)], ids=repr)
def test_key_creation_is_retried_if_it_was_not_applied(failure: Any) -> None:
    script = playing(failure, CREATED)
    result, _ = run_call(creating, script)
    assert result is not None
    assert len(script.sent) == 2


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (LOST, ResponseLost),
        (SERVER_ERROR, ServerError),
        (WEB_PAGE, ResponseLost),
        (answer(201, {"id": 7}), DecodeError),
    ],
)
def test_key_creation_is_never_repeated_if_it_may_be_applied(failure: Any, kind: type[TruecallerError]) -> None:
    script = playing(failure, CREATED)
    _, error = run_call(creating, script)
    assert type(error) is kind
    assert not error.retryable
    assert len(script.sent) == 1


@pytest.mark.parametrize("failure", [LOST, SERVER_ERROR, WEB_PAGE], ids=repr)
def test_key_not_found_after_a_lost_answer_was_revoked(failure: Any) -> None:
    for between in ([], [throttled(1)], [UNSENT]):
        script = playing(failure, *between, NOT_FOUND)
        assert run_call(revoking, script) == (None, None)


@pytest.mark.parametrize("before", [[], [UNSENT], [throttled(1)]], ids=repr)
def test_key_not_found_without_a_lost_answer_is_an_error(before: list[Any]) -> None:
    _, error = run_call(revoking, playing(*before, NOT_FOUND))
    assert type(error) is NotFound


def test_revocation_is_retried_until_it_is_done() -> None:
    script = playing(LOST, SERVER_ERROR, REVOKED)
    assert run_call(revoking, script) == (None, None)
    assert len(script.sent) == 3


@pytest.mark.parametrize("call", [checking, creating, revoking])
def test_refused_token_is_an_error_at_once(call: Any) -> None:
    script = playing(sample_answer("error_401", 401))
    _, error = run_call(call, script)
    assert type(error) is AuthenticationFailed
    assert len(script.sent) == 1


@pytest.mark.parametrize("failure", [LOST, UNSENT, SERVER_ERROR, throttled(1)], ids=repr)
def test_without_retries_there_is_one_attempt(failure: Any) -> None:
    script = playing(failure, LIVE)
    _, error = run_call(checking, script, retry=NO_RETRY)
    assert error is not None
    assert len(script.sent) == 1


def test_last_failure_is_raised_after_the_last_attempt() -> None:
    script = playing(SERVER_ERROR)
    _, error = run_call(checking, script, retry=RetryPolicy(attempts=3))
    assert type(error) is ServerError
    assert len(script.sent) == 3


def test_retry_after_of_a_minute_is_waited_out() -> None:
    script = playing(throttled(60), LIVE)
    assert run_call(checking, script) == (True, None)
    first, second = script.times
    assert second - first >= 60


def test_cooldown_applies_to_every_call_of_the_client() -> None:
    script = playing(throttled(30), LIVE, latency=0.1)

    async def work() -> None:
        client = client_of(script)
        first = asyncio.create_task(client.calls.check("120000486562997"))
        await asyncio.sleep(1)
        assert await client.calls.check("120000486562997")
        assert await first
        await client.aclose()

    run_virtual(work)
    assert len(script.times) == 3
    assert all(time >= script.times[0] + 30 for time in script.times[1:])


def test_wait_beyond_the_maximum_is_an_error_with_a_message() -> None:
    _, error = run_call(checking, playing(throttled(3600)))
    assert isinstance(error, WaitTooLong)
    assert error.seconds >= 3600


def test_cooldown_beyond_the_policy_raises_the_refusal() -> None:
    script = playing(throttled(60), LIVE)
    _, error = run_call(checking, script, retry=RetryPolicy(total=30.0))
    assert isinstance(error, RateLimited)
    assert error.retry_after == 60
    assert len(script.sent) == 1


def test_no_minute_has_more_than_sixty_requests() -> None:
    script = playing(LIVE, latency=0.0)

    async def work() -> None:
        client = client_of(script)
        await asyncio.gather(*(client.calls.check("120000486562997") for _ in range(200)))
        await client.aclose()

    run_virtual(work)
    assert len(script.times) == 200
    assert most_in_window(script.times, 60.0) <= 60
    assert script.times[-1] < 240


class SandboxTransport:
    """A transport that calls the sandbox directly. The sandbox counts requests in its own way."""

    def __init__(self, state: TrustCallerState) -> None:
        self._state = state

    async def send(self, request: Request, timeouts: Timeouts) -> Answer:
        token = request.token.reveal() if request.token else ""
        headers = {"accept": request.headers["Accept"], "authorization": f"Bearer {token}"}
        now = asyncio.get_running_loop().time()
        reply = self._state.handle(request.method, PREFIX + request.path, headers, request.body or b"", now)
        return Answer(reply.status, reply.headers, reply.body)

    async def download(self, *_: Any, **__: Any) -> Answer:
        raise AssertionError("TrustCaller has no links")

    async def aclose(self) -> None:
        """Do nothing."""


@pytest.mark.parametrize("limit", [1, 7, 60])
def test_sandbox_with_its_own_counting_never_refuses_the_client(limit: int) -> None:
    state = TrustCallerState(TrustCallerSettings(token=TOKEN, limit=limit))

    async def work() -> None:
        client = client_of(SandboxTransport(state), limits=Limits((RateLimit("trustcaller", limit, 60.0),)))
        await asyncio.gather(*(client.calls.check("120000486562997") for _ in range(5 * limit)))
        await client.aclose()

    run_virtual(work)
    assert dict(state.requests) == {200: 5 * limit}
    assert state.peak <= limit


def test_client_with_a_higher_limit_still_succeeds() -> None:
    state = TrustCallerState(TrustCallerSettings(token=TOKEN, limit=10))

    async def work() -> None:
        client = client_of(SandboxTransport(state), limits=Limits((RateLimit("trustcaller", 60, 1.0),)))
        for _ in range(25):
            assert await client.calls.check("120000486562997")
        await client.aclose()

    run_virtual(work)
    assert state.requests[200] == 25
    assert 0 < state.requests[429] <= 5


def test_every_page_is_read_once_by_its_number() -> None:
    pages = [
        numbers_page(range(3), page=1, total=7, next="https://elsewhere.example/steal?page=2"),
        numbers_page(range(3, 6), page=2, total=7, next="https://elsewhere.example/steal?page=3"),
        numbers_page(range(6, 7), page=3, total=7, next=None),
    ]
    script = playing(*pages)

    async def ids(client: TrustCallerClient) -> list[int]:
        return [number.id async for number in client.numbers.list(per_page=3)]

    result, _ = run_call(ids, script)
    assert result == list(range(7))
    assert [request.path for _, request in script.sent] == [f"/numbers?page={n}&per_page=3" for n in (1, 2, 3)]


def test_closed_client_fails_waiting_calls() -> None:
    script = playing(throttled(30), LIVE)

    async def work() -> None:
        client = client_of(script)
        waiting = asyncio.create_task(client.calls.check("120000486562997"))
        await asyncio.sleep(1)
        await client.aclose()
        await client.aclose()
        for call in (waiting, client.calls.check("120000486562997")):
            with pytest.raises(ClientClosed):
                await call

    run_virtual(work)
    assert script.closed
    assert len(script.sent) == 1
