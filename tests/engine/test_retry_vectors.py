"""The table of retries, run by campaigns of one record: see `tests/vectors/retries.toml`."""

from __future__ import annotations

from collections import deque

import pytest

from tests.engine.world import check_account, record
from tests.throttling.gateway import End, run_swiftly, world_behind
from tests.vectors.reading import SOON, Campaign, Highest, campaigns, end_of, spelled_out, state_of
from truecaller_async import CampaignOptions, Outcome
from truecaller_async.models import Request

CASES = campaigns()


async def play(case: Campaign) -> None:
    call = "status" if case.status else "submit"
    left = deque(end_of(word) for word in spelled_out(case.status or case.submit))
    attempts = len(left)

    def rule(request: Request, now: float) -> End:
        return left.popleft() if request.call == call and left else None

    world, gateway = world_behind(rule, latency=(0.0, 0.0), max_tokens=1)
    gateway.latency = 0.0
    parts, dice = world.client._parts, Highest()
    parts.rng = parts.exchange._rng = parts.pool._rng = dice
    options = CampaignOptions(
        on_ambiguous=case.on_ambiguous,
        isolate=case.isolate,
    )
    (result,), summary, fault = await world.run([record(1)], options)
    if case.fault is None:
        check_account([result], summary, world.state)
    times = [passage.came for passage in gateway.of(call)]
    before = gateway.of("submit")[-1].went if case.status else 0.0
    waits = [later - earlier for earlier, later in zip([before, *times], times, strict=False)]
    assert (type(fault).__name__ if fault is not None else None) == case.fault
    assert len(times) == attempts
    assert waits == pytest.approx(case.waits, abs=SOON)
    assert (result.outcome, result.possibly_duplicated) == (Outcome(case.outcome), case.possibly_duplicated)
    assert result.attempts == case.attempts
    assert state_of(parts.exchange.restraint) == (case.budget, case.breaker)


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_a_batch_is_tried_again_as_the_table_says(case: Campaign) -> None:
    run_swiftly(play, case)


def test_the_table_has_every_outcome_that_a_retry_may_lead_to() -> None:
    assert {case.outcome for case in CASES} == {"delivered", "failed", "unknown", "unsent"}
