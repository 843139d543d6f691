"""A server that gives one id to two batches: a poll would attribute results to the wrong batch."""

from __future__ import annotations

import json
import math

import pytest

from tests.batch_life.scene import Edit, with_answer, world_of
from tests.campaign.world import applications, check_account, records
from tests.virtual import run_virtual
from truecaller_async import CampaignOptions, DecodeError, Outcome
from truecaller_async.sandbox.answers import SandboxResponse

BATCH = 500


def repeating(nth: int, *, last: float = math.inf) -> Edit:
    """Give the id of the first batch to every accepted batch between these numbers."""
    given: list[str] = []

    def edit(reply: SandboxResponse, now: float) -> SandboxResponse:
        given.append(json.loads(reply.body)["batch_id"])
        return with_answer(reply, {"batch_id": given[0]}) if nth <= len(given) <= last else reply

    return edit


@pytest.mark.fault("F44")
@pytest.mark.parametrize("on_ambiguous", ["resend", "hold"])
def test_second_batch_with_a_repeated_id_is_unknown_and_run_stops(on_ambiguous: str) -> None:
    async def main() -> None:
        world = world_of(submit=repeating(2))
        options = CampaignOptions(on_ambiguous=on_ambiguous)  # type: ignore[arg-type]
        results, summary, fault = await world.run(records(20 * BATCH), options)
        check_account(results, summary, world.state)
        assert isinstance(fault, DecodeError)
        assert fault.path == "$.batch_id"
        by_row = {result.row: result for result in results}
        assert {by_row[row].outcome for row in range(1, BATCH + 1)} == {Outcome.DELIVERED}
        assert summary.delivered == BATCH
        sent = world.state.stats().records_applied
        assert (summary.unknown, summary.unsent) == (sent - BATCH, summary.read - sent)
        assert BATCH < sent < summary.read
        assert len({result.batch_id for result in results if result.batch_id}) == 1
        assert max(applications(world.state).values()) == 1
        assert all("another batch" in str(result.reason) for result in results if result.outcome is Outcome.UNKNOWN)

    run_virtual(main)


@pytest.mark.fault("F44")
def test_one_repeated_batch_id_stops_the_run() -> None:
    async def main() -> None:
        world = world_of(submit=repeating(2, last=2))
        results, summary, fault = await world.run(records(20 * BATCH))
        check_account(results, summary, world.state)
        assert isinstance(fault, DecodeError)
        assert fault.path == "$.batch_id"
        assert summary.unknown == BATCH
        assert summary.unsent == summary.read - world.state.stats().records_applied > 0
        assert max(applications(world.state).values()) == 1

    run_virtual(main)


@pytest.mark.fault("F44")
def test_batch_id_repeated_much_later_is_detected() -> None:
    async def main() -> None:
        world = world_of(submit=repeating(40))
        results, summary, fault = await world.run(records(60 * BATCH))
        check_account(results, summary, world.state)
        assert isinstance(fault, DecodeError)
        assert summary.delivered >= 39 * BATCH - BATCH
        assert summary.unknown > 0
        assert max(applications(world.state).values()) == 1

    run_virtual(main)


@pytest.mark.fault("F44")
@pytest.mark.parametrize("masked", [True, False])
def test_rows_under_a_shared_id_count_only_if_they_match_the_records(masked: bool) -> None:
    async def main() -> None:
        world = world_of(submit=repeating(2), mask_numbers=masked)
        results, summary, fault = await world.run(records(4 * BATCH))
        assert isinstance(fault, DecodeError)
        assert summary.adds_up
        assert summary.delivered == (0 if masked else BATCH)
        assert summary.delivered + summary.unknown == world.state.stats().records_applied
        assert len(results) == summary.read

    run_virtual(main)
