"""Run the retry table (`tests/vectors/retries.toml`) with single calls."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable
from typing import Any

import pytest

from tests.resources.script import Script, answer, client_of, playing, record
from tests.throttling.gateway import run_on_swift_loop
from tests.vectors.retry_table import (
    GOOD,
    TIME_TOLERANCE_SECONDS,
    HighestRandom,
    SingleCallCase,
    end_for,
    expand,
    guard_state,
    single_call_cases,
)
from truecaller_async import Limits, ResponseLost, RetryPolicy, TruecallerClient, TruecallerError
from truecaller_async.models import Answer

WIDE = Limits.documented().replace(token=(100_000, 1.0), batch=(100_000, 1.0))
READS = ("status", "labels")
CASES = single_call_cases()


def now() -> float:
    return asyncio.get_running_loop().time()


def step(call: str, word: str) -> Answer | Exception:
    end = end_for(word)
    assert end is None or isinstance(end, Answer | Exception)
    if isinstance(end, ResponseLost) and call in READS:
        return _lost_read(end)
    return GOOD[call] if end is None else end


def _lost_read(lost: ResponseLost) -> ResponseLost:
    """Make the error of a lost read, as the transport does: it is retryable."""
    error = ResponseLost(str(lost))
    error.retryable = True
    return error


def steps(call: str, words: list[str]) -> list[Answer | Exception]:
    return [step(call, word) for word in expand(words)]


def client_for(case: SingleCallCase, script: Script) -> TruecallerClient:
    policy = RetryPolicy(attempts=case.attempts or 4, total=case.total or 60.0)
    client = client_of(script, retry=policy, limits=WIDE, max_tokens=case.tokens)
    parts, dice = client._shared, HighestRandom()
    parts.rng = parts.executor.rng = parts.pool._state.rng = dice
    return client


def make_call(client: TruecallerClient, call: str, deadline: float | None = None) -> Awaitable[Any]:
    if call == "submit":
        return client.batches.submit([record()])
    if call == "status":
        return client.batches.status("b-1")
    if call == "labels":
        return client.labels.list()
    return client.calls.push(record(), deadline=deadline)


async def prepare(client: TruecallerClient, script: Script, before: str) -> None:
    """Return calls with these answers, one after the other, until all of them were given."""
    call, _, words = before.partition(" ")
    given = steps(call, words.split(", "))
    script.steps.extendleft(reversed(given))
    left = len(script.steps) - len(given)
    retrying = client.with_options(retry=RetryPolicy(total=10_000.0))
    while len(script.steps) > left:
        with contextlib.suppress(TruecallerError):
            await make_call(retrying, call)


async def make_other_calls(client: TruecallerClient, script: Script, meanwhile: list[str]) -> None:
    """Make other calls, each a quarter of a second later."""
    for other in meanwhile:
        await asyncio.sleep(0.25)
        await prepare(client, script, other)


async def play(case: SingleCallCase) -> None:
    ends = steps("push" if case.call == "mint" else case.call, case.answers)
    script = playing(GOOD["push"], latency=0.0)
    client = client_for(case, script)
    for before in case.before:
        await prepare(client, script, before)
    if case.call == "mint":
        fresh = answer(200, {"token": "token-1"})
        script.mints.extend([fresh if end is GOOD["push"] else end for end in ends])
    else:
        script.steps.clear()
        script.steps.extend([*ends, AssertionError("one attempt too many")])
    times = script.minted if case.call == "mint" else list[float]()
    seen_before, began = len(script.sent), now()
    outcome, error = "ok", None
    others = asyncio.create_task(make_other_calls(client, script, case.meanwhile))
    try:
        await make_call(client, case.call, case.deadline)
    except TruecallerError as raised:
        outcome, error = type(raised).__name__, raised
    await others
    if case.call != "mint":
        times = [time for time, request in script.sent[seen_before:] if not case.meanwhile or request.call == case.call]
    waits = [later - earlier for earlier, later in zip([began, *times], times, strict=False)]
    assert outcome == case.outcome
    assert len(waits) == len(ends)
    assert waits == pytest.approx(case.waits, abs=TIME_TOLERANCE_SECONDS)
    assert guard_state(client._shared.executor.guard) == (case.budget, case.breaker)
    if error is not None:
        assert (error.sent, error.retryable) == (case.sent, case.retryable)
    await client.aclose()


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_single_call_is_retried_as_the_table_specifies(case: SingleCallCase) -> None:
    run_on_swift_loop(play, case)


def test_table_has_every_error_class_for_reads_and_writes() -> None:
    """Not for reads: `PushRejected`. All other errors belong to campaigns or inputs."""
    common = {
        "NotSent",
        "ResponseLost",
        "ServerError",
        "DecodeError",
        "BadRequest",
        "AuthenticationFailed",
        "Forbidden",
        "NotFound",
        "RateLimited",
        "UnexpectedRedirect",
        "WaitTooLong",
    }
    by_call = {call: {case.outcome for case in CASES if case.call == call} for call in ("push", "status")}
    assert by_call["push"] >= common | {"PushRejected", "DeadlineExceeded", "ok"}
    assert by_call["status"] >= common | {"ok"}
