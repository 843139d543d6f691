"""Retries of single calls: on a virtual loop, with a scripted transport."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from itertools import pairwise
from typing import Any

import pytest

from tests.resources.script import (
    PUSHED,
    REFUSED_TOKEN,
    TAKEN,
    Script,
    answer,
    client_of,
    playing,
    record,
    status_of,
    throttled,
)
from tests.virtual import run_virtual
from truecaller_async import (
    NO_RETRY,
    AuthenticationFailed,
    DeadlineExceeded,
    Forbidden,
    Limits,
    NotFound,
    NotSent,
    RateLimited,
    ResponseLost,
    RetryPolicy,
    ServerError,
    TokenBudgetExhausted,
    TruecallerClient,
    UnexpectedRedirect,
    WaitTooLong,
)

UNAVAILABLE = answer(503, {"slug": "internal-server-error", "message": "try later"})
LOST = ResponseLost("the connection broke")
NOT_SENT = NotSent("refused")
FINAL = status_of("success")

Call = Callable[[TruecallerClient], Awaitable[Any]]


def push(client: TruecallerClient) -> Awaitable[Any]:
    return client.calls.push(record())


def submit(client: TruecallerClient) -> Awaitable[Any]:
    return client.batches.submit([record()])


def status(client: TruecallerClient) -> Awaitable[Any]:
    return client.batches.status("b-1")


ALL_CALLS = [(push, PUSHED), (submit, TAKEN), (status, FINAL)]
WRITES = [(push, PUSHED), (submit, TAKEN)]


def now() -> float:
    return asyncio.get_running_loop().time()


def not_retryable() -> NotSent:
    error = NotSent("the certificate was not accepted")
    error.retryable = False
    return error


@pytest.mark.parametrize(("call", "good"), ALL_CALLS)
def test_unsent_request_is_repeated_after_a_backoff(call: Call, good: Any) -> None:
    async def scene() -> None:
        script = playing(NOT_SENT, NOT_SENT, good)
        await call(client_of(script))
        assert len(script.sent) == 3
        assert 0.2 <= script.times[2] - script.times[0] <= 0.2 + 0.5 + 1.0

    run_virtual(scene)


def test_permanently_unsendable_request_is_not_retried() -> None:
    async def scene() -> None:
        script = playing(not_retryable(), PUSHED)
        with pytest.raises(NotSent):
            await push(client_of(script))
        assert len(script.sent) == 1

    run_virtual(scene)


@pytest.mark.fault("F20")
@pytest.mark.parametrize(("call", "good"), WRITES)
@pytest.mark.parametrize(("failure", "error"), [(LOST, ResponseLost), (UNAVAILABLE, ServerError)])
def test_possibly_applied_write_is_never_repeated(call: Call, good: Any, failure: Any, error: type[Exception]) -> None:
    async def scene() -> None:
        script = playing(failure, good)
        with pytest.raises(error):
            await call(client_of(script))
        assert len(script.sent) == 1

    run_virtual(scene)


@pytest.mark.fault("F19")
@pytest.mark.parametrize("failure", [LOST, UNAVAILABLE])
def test_read_is_repeated_after_a_lost_answer_and_after_a_5xx(failure: Any) -> None:
    async def scene() -> None:
        script = playing(failure, failure, FINAL)
        assert (await client_of(script).batches.status("b-1")).batch_id == "b-1"
        assert len(script.sent) == 3

    run_virtual(scene)


@pytest.mark.fault("F01")
@pytest.mark.parametrize(("call", "good"), ALL_CALLS)
def test_refused_token_is_replaced_once(call: Call, good: Any) -> None:
    async def scene() -> None:
        script = playing(REFUSED_TOKEN, good)
        await call(client_of(script))
        assert script.tokens == ["token-1", "token-2"]

    run_virtual(scene)


@pytest.mark.fault("F05")
def test_500_on_token_parsing_counts_as_a_refused_token() -> None:
    async def scene() -> None:
        bad = answer(500, {"slug": "internal-server-error", "message": "500/50011 - Failed to parse token"})
        script = playing(bad, TAKEN)
        await submit(client_of(script))
        assert script.tokens == ["token-1", "token-2"]

    run_virtual(scene)


@pytest.mark.fault("F02")
def test_second_refused_token_ends_the_call() -> None:
    async def scene() -> None:
        script = playing(PUSHED, REFUSED_TOKEN)
        client = client_of(script)
        await push(client)
        await asyncio.sleep(100.0)
        with pytest.raises(AuthenticationFailed):
            await push(client)
        assert script.tokens == ["token-1", "token-1", "token-2"]

    run_virtual(scene)


@pytest.mark.fault("F02")
def test_two_refused_tokens_are_a_credentials_error() -> None:
    async def scene() -> None:
        script = playing(REFUSED_TOKEN)
        client = client_of(script)
        for _ in range(2):
            with pytest.raises(AuthenticationFailed):
                await push(client)
        assert len(script.sent) == len(script.minted) == 2

    run_virtual(scene)


@pytest.mark.fault("F11")
def test_429_repeats_the_request_with_another_token_at_once() -> None:
    async def scene() -> None:
        script = playing(PUSHED, throttled(100), PUSHED)
        client = client_of(script)
        await push(client)
        await client._shared.pool.grow()
        began = now()
        await push(client)
        assert script.tokens[1] != script.tokens[2]
        assert now() - began < 1.0

    run_virtual(scene)


@pytest.mark.fault("F11")
def test_429_is_waited_out_without_another_token() -> None:
    async def scene() -> None:
        script = playing(throttled(20), PUSHED)
        await push(client_of(script, max_tokens=1))
        assert 20.0 <= script.times[1] - script.times[0] - 0.1 <= 22.0

    run_virtual(scene)


def test_429_longer_than_the_retry_time_is_raised_without_waiting() -> None:
    async def scene() -> None:
        script = playing(throttled(100), PUSHED)
        with pytest.raises(RateLimited) as refusal:
            await push(client_of(script, max_tokens=1))
        assert refusal.value.retry_after == 100.0
        assert now() < 1.0

    run_virtual(scene)


@pytest.mark.fault("F13")
@pytest.mark.parametrize("seconds", [400, 99999999999])
def test_429_longer_than_the_longest_cooldown_is_wait_too_long(seconds: int) -> None:
    async def scene() -> None:
        script = playing(throttled(seconds), PUSHED)
        with pytest.raises(WaitTooLong):
            await push(client_of(script, max_tokens=1))
        assert now() < 1.0

    run_virtual(scene)


@pytest.mark.fault("F11")
def test_429_cooldown_applies_to_other_calls() -> None:
    async def scene() -> None:
        script = playing(throttled(20), PUSHED)
        client = client_of(script, max_tokens=1, retry=NO_RETRY)
        with pytest.raises(RateLimited):
            await push(client)
        await status_after(client, script)

    async def status_after(client: TruecallerClient, script: Script) -> None:
        script.steps = deque([FINAL])
        await status(client)
        assert script.times[1] >= 20.0

    run_virtual(scene)


@pytest.mark.parametrize("call", [push, submit, status])
@pytest.mark.parametrize(
    ("failure", "error"),
    [
        (NOT_SENT, NotSent),
        (LOST, ResponseLost),
        (UNAVAILABLE, ServerError),
        (throttled(1), RateLimited),
        (REFUSED_TOKEN, AuthenticationFailed),
    ],
)
def test_without_retries_there_is_one_attempt(call: Call, failure: Any, error: type[Exception]) -> None:
    async def scene() -> None:
        script = playing(failure)
        with pytest.raises(error):
            await call(client_of(script, retry=NO_RETRY))
        assert len(script.sent) == 1

    run_virtual(scene)


@pytest.mark.parametrize("call", [push, status])
@pytest.mark.parametrize(
    ("code", "error"), [(403, Forbidden), (404, NotFound), (302, UnexpectedRedirect), (418, Exception)]
)
def test_error_that_a_retry_cannot_fix_is_raised_at_once(call: Call, code: int, error: type[Exception]) -> None:
    async def scene() -> None:
        script = playing(answer(code, {}, location="https://elsewhere.example/"))
        with pytest.raises(error):
            await call(client_of(script))
        assert len(script.sent) == 1
        assert len(script.minted) == 1

    run_virtual(scene)


@pytest.mark.parametrize("failure", [NOT_SENT, throttled()])
def test_attempts_are_bounded(failure: Any) -> None:
    async def scene() -> None:
        script = playing(failure)
        with pytest.raises((NotSent, RateLimited)):
            await push(client_of(script, retry=RetryPolicy(attempts=5, total=1000.0), max_tokens=1))
        assert len(script.sent) == 5

    run_virtual(scene)


def test_total_time_of_all_attempts_is_bounded() -> None:
    async def scene() -> None:
        script = playing(NOT_SENT, latency=3.0)
        with pytest.raises(NotSent):
            await push(client_of(script, retry=RetryPolicy(attempts=1000, total=30.0, cap=2.0)))
        assert now() <= 33.0 + 3.0
        assert len(script.sent) >= 6

    run_virtual(scene)


def test_deadline_cancels_a_request_in_flight_that_may_be_applied() -> None:
    async def scene() -> None:
        script = playing(PUSHED)
        client = client_of(script)
        await push(client)
        script.latency, began = 10.0, now()
        with pytest.raises(DeadlineExceeded) as late:
            await client.calls.push(record(), deadline=2.0)
        assert late.value.sent == "maybe"
        assert late.value.__context__ is None
        assert now() - began == pytest.approx(2.0)

    run_virtual(scene)


def test_deadline_ends_the_wait_for_a_token_with_nothing_sent() -> None:
    async def scene() -> None:
        script = playing(PUSHED, latency=10.0)
        async with client_of(script) as client:
            with pytest.raises(DeadlineExceeded) as late:
                await client.calls.push(record(), deadline=2.0)
        assert (late.value.sent, script.sent) == ("no", [])
        assert now() == pytest.approx(2.0)

    run_virtual(scene)


def test_short_deadlines_do_not_spend_the_mint_budget() -> None:
    async def scene() -> None:
        script = playing(PUSHED, latency=10.0)
        client = client_of(script)
        for _ in range(4):
            with pytest.raises(DeadlineExceeded):
                await client.calls.push(record(), deadline=2.0)
        await client.calls.push(record(), deadline=30.0)
        assert len(script.minted) == 1

    run_virtual(scene)


def test_deadline_ends_the_retries() -> None:
    async def scene() -> None:
        script = playing(throttled(20), PUSHED)
        with pytest.raises(DeadlineExceeded) as late:
            await client_of(script, max_tokens=1).calls.push(record(), deadline=10.0)
        assert late.value.sent == "no"
        assert now() < 1.0

    run_virtual(scene)


@pytest.mark.parametrize(("failure", "claims"), [(NOT_SENT, 1), (LOST, 2), (UNAVAILABLE, 2)])
def test_each_possibly_successful_mint_is_counted(failure: Any, claims: int) -> None:
    async def scene() -> None:
        limits = Limits.documented().replace(mint=(3, 1800.0))
        script = playing(PUSHED, mints=[failure])
        client = client_of(script, limits=limits)
        await push(client)
        assert len(script.minted) == 2
        for _ in range(3 - claims):
            await client._shared.pool.grow()
        with pytest.raises(TokenBudgetExhausted):
            await client._shared.pool.grow()

    run_virtual(scene)


def test_mint_requests_end_with_the_budget() -> None:
    async def scene() -> None:
        script = playing(PUSHED, mints=[UNAVAILABLE] * 9)
        client = client_of(script, limits=Limits.documented().replace(mint=(2, 1800.0)))
        with pytest.raises(ServerError) as failed:
            await push(client)
        assert failed.value.sent == "no"  # the push itself was not sent
        with pytest.raises(TokenBudgetExhausted):
            await push(client)
        assert len(script.minted) == 2

    run_virtual(scene)


def test_failing_token_endpoint_does_not_use_up_the_mint_budget_quickly() -> None:
    async def scene() -> None:
        script = playing(PUSHED, mints=[UNAVAILABLE] * 99)
        client = client_of(script)
        while now() < 900.0:
            with pytest.raises(ServerError):
                await push(client)
            await asyncio.sleep(1.0)
        assert len(script.minted) < 10
        gaps = [later - earlier for earlier, later in pairwise(script.minted)]
        assert gaps[-1] > 200.0 > 60.0 > gaps[2]

    run_virtual(scene)


@pytest.mark.fault("F02")
def test_wrong_credentials_are_tried_once() -> None:
    async def scene() -> None:
        script = playing(PUSHED, mints=[REFUSED_TOKEN])
        with pytest.raises(AuthenticationFailed):
            await push(client_of(script))
        assert (len(script.minted), script.sent) == (1, [])

    run_virtual(scene)
