"""Consecutive failures that stop a run, and a good batch between them that resets the count."""

from __future__ import annotations

from collections.abc import Container

import pytest

from tests.batch_life.scene import Edit, EditedState, with_answer
from tests.campaign.world import World, applications, check_account, records
from tests.virtual import run_virtual
from truecaller_async import CampaignOptions, DecodeError, Outcome
from truecaller_async.models import Request
from truecaller_async.sandbox import SandboxSettings
from truecaller_async.sandbox.answers import SandboxResponse

BATCH = 500


def beside_the_point(batches: Container[int]) -> Edit:
    """Answer these accepted batches, counted from 1, without a batch id."""
    count = 0

    def edit(reply: SandboxResponse, now: float) -> SandboxResponse:
        nonlocal count
        count += 1
        return with_answer(reply, {"hello": "world"}) if count in batches else reply

    return edit


def world_with(submit: Edit) -> World:
    """Return a world with one token, so that batches are sent one after the other."""
    return World(state=EditedState(SandboxSettings(), {"submit": submit}), latency=(0.02, 0.02), max_tokens=1)


@pytest.mark.fault("F27", "F28")
def test_three_accepted_batches_in_a_row_without_an_id_stop_the_run() -> None:
    """Their results are lost, and those of the next batches would be lost as well."""

    async def main() -> None:
        world = world_with(lambda reply, now: with_answer(reply, {"hello": "world"}))
        results, summary, fault = await world.run(records(20 * BATCH))
        check_account(results, summary, world.state)
        assert isinstance(fault, DecodeError)
        assert world.transport.counts["submit"] == 3
        assert (summary.unknown, summary.delivered) == (3 * BATCH, 0)
        assert summary.unsent == summary.read - 3 * BATCH > 0
        assert max(applications(world.state).values()) == 1

    run_virtual(main)


@pytest.mark.fault("F27", "F28")
def test_good_answer_between_them_resets_the_count() -> None:
    async def main() -> None:
        world = world_with(beside_the_point({1, 2, 4, 5}))
        results, summary, fault = await world.run(records(20 * BATCH))
        check_account(results, summary, world.state)
        assert fault is None
        assert (summary.unknown, summary.delivered) == (4 * BATCH, 16 * BATCH)
        assert {result.outcome for result in results if result.possibly_duplicated} == set()

    run_virtual(main)


@pytest.mark.fault("F41")
def test_run_continues_if_every_tenth_batch_is_refused() -> None:
    def refuse(request: Request, count: int, _: object) -> str | None:
        return "400" if request.call == "submit" and count % 10 == 0 else None

    async def main() -> None:
        world = World(fault=refuse, max_tokens=1)
        results, summary, fault = await world.run(records(50 * BATCH), CampaignOptions(isolate="none"))
        check_account(results, summary, world.state)
        assert fault is None
        assert (summary.failed, summary.delivered) == (5 * BATCH, 45 * BATCH)
        assert {str(result.reason) for result in results if result.outcome is Outcome.FAILED} == {
            "label_id is not accepted"
        }

    run_virtual(main)
