"""The table of retries, run by campaigns of one record: see `tests/vectors/retries.toml`."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict, deque

import pytest

from tests.campaign.world import check_account, record, records
from tests.throttling.gateway import End, run_on_swift_loop, world_behind
from tests.vectors.retry_table import (
    TIME_TOLERANCE_SECONDS,
    CampaignCase,
    HighestRandom,
    campaign_cases,
    end_for,
    expand,
    guard_state,
)
from truecaller_async import CampaignOptions, Outcome, RetryPolicy, TruecallerClient, TruecallerError
from truecaller_async.models import Request

CASES = campaign_cases()


async def prepare(client: TruecallerClient, ends: dict[str, deque[End]], before: str) -> None:
    """Return calls with these answers, one after the other, until all of them were given."""
    call, _, words = before.partition(" ")
    ends[call].extend(end_for(word) for word in expand(words.split(", ")))
    patient = client.with_options(retry=RetryPolicy(total=10_000.0))
    while ends[call]:
        with contextlib.suppress(TruecallerError):
            await (patient.batches.status("b-1") if call == "status" else patient.calls.push(record(0)))


async def play(case: CampaignCase) -> None:
    call = "status" if case.status else "submit"
    ends = defaultdict[str, deque[End]](deque)

    def rule(request: Request, now: float) -> End:
        return ends[request.call].popleft() if ends[request.call] else None

    # Not zero: a token that is made at the moment of a refusal would count as older.
    world, gateway = world_behind(rule, latency=(0.0005, 0.0005), max_tokens=1)
    gateway.latency = 0.0
    parts, dice = world.client._shared, HighestRandom()
    parts.rng = parts.executor.rng = parts.pool._state.rng = dice
    for before in case.before:
        await prepare(world.client, ends, before)
    ends[call].extend(end_for(word) for word in expand(case.status or case.submit))
    attempts, began = len(ends[call]), asyncio.get_running_loop().time()
    options = CampaignOptions(on_ambiguous=case.on_ambiguous, isolate=case.isolate)
    results, summary, fault = await world.run(records(case.records), options)
    check_account(results, summary, world.state)
    times = [passage.came for passage in gateway.of(call) if passage.came >= began]
    before_first = gateway.of("submit")[-1].went if case.status else began
    waits = [later - earlier for earlier, later in zip([before_first, *times], times, strict=False)]
    assert (type(fault).__name__ if fault is not None else None) == case.fault
    assert len(times) == attempts
    assert waits == pytest.approx(case.waits, abs=TIME_TOLERANCE_SECONDS)
    assert {(result.outcome, result.possibly_duplicated) for result in results} == {
        (Outcome(case.outcome), case.possibly_duplicated)
    }
    assert {result.attempts for result in results} == {case.attempts}
    assert guard_state(parts.executor.guard) == (case.budget, case.breaker)


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_batch_is_retried_as_the_table_specifies(case: CampaignCase) -> None:
    run_on_swift_loop(play, case)


def test_table_has_every_possible_outcome_of_a_retry() -> None:
    assert {case.outcome for case in CASES} == {"delivered", "failed", "unknown", "unsent"}
