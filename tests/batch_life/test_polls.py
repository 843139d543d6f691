"""How often a batch is polled, and batches that the server does not know."""

from __future__ import annotations

from collections.abc import Container
from itertools import pairwise

import pytest

from tests.batch_life.scene import Edit, with_answer, world_of
from tests.campaign.world import World, check_account, records
from tests.virtual import run_virtual
from truecaller_async import CampaignOptions, Outcome, PollPolicy
from truecaller_async.sandbox import SandboxSettings
from truecaller_async.sandbox.answers import SandboxResponse, not_found

NEVER = 1e9
NOT_VISIBLE_YET = 60.0


def only(polls: Container[int]) -> Edit:
    """Answer these polls, counted from 1, that the batch is not known."""
    count = 0

    def edit(reply: SandboxResponse, now: float) -> SandboxResponse:
        nonlocal count
        count += 1
        return not_found("no such batch") if count in polls else reply

    return edit


def poll_times(world: World) -> list[float]:
    """Return the seconds from the acceptance of the one batch to each of its polls."""
    accepted = next(time for time, _, call in world.transport.sent if call == "submit")
    return [time - accepted for time, _, call in world.transport.sent if call == "status"]


@pytest.mark.fault("F42")
def test_unresolved_batch_is_polled_at_bounded_cost_until_the_deadline() -> None:
    async def main() -> None:
        world = World(settings=SandboxSettings(resolve_after=NEVER))
        results, summary, fault = await world.run(records(5))
        check_account(results, summary, world.state)
        assert fault is None
        assert summary.unknown == 5
        assert all(str(result.reason).startswith("no final status within ") for result in results)
        polls = poll_times(world)
        assert len([time for time in polls if time <= 600]) <= 18
        assert len(polls) <= 130
        assert max(later - earlier for earlier, later in pairwise(polls)) <= 67
        assert 7200 <= polls[-1] <= 7267
        assert world.transport.counts["submit"] == 1

    run_virtual(main)


@pytest.mark.fault("F43")
@pytest.mark.parametrize("seconds", [0.5, 5.0, 55.0])
def test_batch_not_visible_at_first_is_polled_and_not_resent(seconds: float) -> None:
    async def main() -> None:
        world = world_of(response_variants={"late-batches"}, late_for=seconds)
        results, summary, fault = await world.run(records(500))
        check_account(results, summary, world.state)
        assert fault is None
        assert summary.delivered == 500
        assert world.transport.counts["submit"] == 1
        assert not any(result.possibly_duplicated for result in results)

    run_virtual(main)


@pytest.mark.fault("F43")
def test_batch_with_permanent_404_ends_unknown_after_a_minute() -> None:
    async def main() -> None:
        world = world_of(response_variants={"late-batches"}, late_for=NEVER)
        results, summary, fault = await world.run(records(500))
        check_account(results, summary, world.state)
        assert fault is None
        assert {result.outcome for result in results} == {Outcome.UNKNOWN}
        assert all("does not know the batch" in str(result.reason) for result in results)
        assert world.transport.counts["submit"] == 1
        polls = poll_times(world)
        assert NOT_VISIBLE_YET < polls[-1] <= 2 * NOT_VISIBLE_YET
        assert len(polls) <= 8

    run_virtual(main)


@pytest.mark.fault("F42")
def test_unreadable_status_costs_no_more_polls_than_unresolved_batch() -> None:
    async def main() -> None:
        world = world_of(status=lambda reply, now: with_answer(reply, {"rows": "none"}))
        results, summary, fault = await world.run(records(5))
        check_account(results, summary, world.state)
        assert fault is None
        assert summary.unknown == 5
        assert len(poll_times(world)) <= 130

    run_virtual(main)


@pytest.mark.fault("F43")
@pytest.mark.parametrize("polls", [{8}, {1, 8}], ids=["seen before", "not visible at first, and seen since"])
def test_single_404_after_the_batch_was_seen_is_ignored(polls: set[int]) -> None:
    async def main() -> None:
        world = world_of(status=only(polls), resolve_after=400.0)
        results, summary, fault = await world.run(records(500))
        check_account(results, summary, world.state)
        assert fault is None
        assert summary.delivered == 500
        assert poll_times(world)[7] > NOT_VISIBLE_YET

    run_virtual(main)


@pytest.mark.fault("F43")
def test_late_first_poll_is_followed_by_another() -> None:
    """The token cooled down for two minutes, so the first answer comes after more than a minute."""

    async def main() -> None:
        world = world_of(status=only(range(1, 2)))
        world.transport.fault = lambda request, count, _: "429:120" if request.call == "status" and count == 1 else None
        results, summary, fault = await world.run(records(500))
        check_account(results, summary, world.state)
        assert fault is None
        assert summary.delivered == 500
        assert poll_times(world)[1] > 2 * NOT_VISIBLE_YET
        assert len(poll_times(world)) == 3

    run_virtual(main)


@pytest.mark.fault("F43")
def test_batch_is_polled_again_after_hours_of_lost_answers() -> None:
    """A lost answer does not mean "no such batch": the poll deadline decides."""

    async def main() -> None:
        world = World(fault=lambda request, *_: "lost_after" if request.call == "status" else None)
        results, summary, fault = await world.run(records(500), CampaignOptions(poll=PollPolicy(deadline=600.0)))
        check_account(results, summary, world.state)
        assert fault is None
        assert {result.outcome for result in results} == {Outcome.UNKNOWN}
        assert all(str(result.reason).startswith("no final status within ") for result in results)
        assert world.transport.counts["submit"] == 1

    run_virtual(main)
