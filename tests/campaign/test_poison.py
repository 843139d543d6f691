"""Bad records end to end: found in a rejected batch at a bounded cost, while good ones are delivered.

A bad record here has a label that the account does not have: preflight cannot know it, and the server rejects the whole
batch for it.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from random import Random
from typing import Literal

import pytest

from tests.campaign.world import LABEL, World, applications, check_account, record, records
from tests.virtual import run_virtual
from truecaller_async import BadRequest, CallRecord, CampaignOptions, Outcome, RecordResult, Summary
from truecaller_async.models import Request

STRANGE = "11111111-2222-4333-8444-555555555555"
BATCH = 500
REQUESTS_MAX = 600
BISECT_POSTS_MAX = 64
STREAK = 20
IN_FLIGHT = 64

Isolate = Literal["realtime", "bisect"]


def batch(bad: Collection[int], first: int = 1) -> list[CallRecord]:
    """Return one batch of records, numbered from `first`; those in these rows are bad."""
    rows = range(first, first + BATCH)
    return [record(row, label_id=STRANGE if row in bad else LABEL) for row in rows]


def scattered(count: int) -> set[int]:
    """Return so many rows of a batch, the same ones in every run."""
    return set(Random(count).sample(range(1, BATCH + 1), count))


def requests(world: World) -> int:
    """Return the number of requests that sent records."""
    return sum(count for call, count in world.transport.counts.items() if call != "mint")


def of_bad(results: list[RecordResult], bad: Collection[int]) -> list[RecordResult]:
    return [result for result in results if result.row in bad]


async def isolated(bad: Collection[int], isolate: Isolate) -> tuple[World, list[RecordResult], Summary]:
    """Run one batch with these bad rows, and check what holds for every case."""
    world = World()
    results, summary, fault = await world.run(batch(bad), CampaignOptions(isolate=isolate))
    assert fault is None
    check_account(results, summary, world.state)
    assert summary.delivered + summary.failed == BATCH
    assert {result.outcome for result in of_bad(results, bad)} == {Outcome.FAILED}
    assert all("label_id" in str(result.reason) for result in of_bad(results, bad))
    assert max(applications(world.state).values(), default=1) == 1
    assert not any(result.possibly_duplicated for result in results)
    assert requests(world) <= REQUESTS_MAX
    return world, results, summary


@pytest.mark.fault("F40")
@pytest.mark.parametrize("count", [1, 5, 50])
def test_single_pushes_find_every_bad_record_and_deliver_the_others(count: int) -> None:
    async def main() -> None:
        bad = scattered(count)
        world, results, summary = await isolated(bad, "realtime")
        assert (summary.delivered, summary.failed) == (BATCH - count, count)
        assert {result.field for result in of_bad(results, bad)} == {"label_id"}
        assert world.transport.counts["submit"] == 1

    run_virtual(main)


@pytest.mark.fault("F40")
@pytest.mark.parametrize("row", [1, 2, 250, 251, 499, 500])
def test_bisect_finds_one_bad_record_at_any_position(row: int) -> None:
    async def main() -> None:
        world, results, summary = await isolated({row}, "bisect")
        assert (summary.delivered, summary.failed) == (BATCH - 1, 1)
        assert world.transport.counts["push"] == 0
        assert world.transport.counts["submit"] <= 1 + 18
        (found,) = of_bad(results, {row})
        assert "not found within" not in str(found.reason)

    run_virtual(main)


@pytest.mark.fault("F40")
@pytest.mark.parametrize("count", [2, 5, 50, 500])
def test_bisect_ends_after_its_post_limit_and_reports_unreached_records(count: int) -> None:
    async def main() -> None:
        bad = scattered(count)
        world, results, _ = await isolated(bad, "bisect")
        assert world.transport.counts["submit"] <= 1 + BISECT_POSTS_MAX
        innocent = [result for result in results if result.outcome is Outcome.FAILED and result.row not in bad]
        assert all(
            str(result.reason).startswith("the bad record was not found within 64 requests; ") for result in innocent
        )
        assert count > 2 or not innocent

    run_virtual(main)


@pytest.mark.fault("F41")
def test_entirely_bad_batch_is_abandoned_soon_and_the_next_is_delivered() -> None:
    async def main() -> None:
        world = World()
        source = [*batch(range(1, BATCH + 1)), *batch((), BATCH + 1), *batch((), 2 * BATCH + 1)]
        results, summary, fault = await world.run(source, CampaignOptions(isolate="realtime"))
        check_account(results, summary, world.state)
        assert fault is None
        assert (summary.failed, summary.delivered) == (BATCH, 2 * BATCH)
        assert world.transport.counts["push"] <= STREAK + IN_FLIGHT
        assert {result.outcome for result in of_bad(results, range(1, BATCH + 1))} == {Outcome.FAILED}

    run_virtual(main)


@pytest.mark.fault("F41")
@pytest.mark.parametrize("isolate", ["realtime", "bisect"])
def test_three_refused_batches_stop_the_run_after_the_last_result(isolate: Isolate) -> None:
    sizes: list[int] = []

    def watch(what: str, request: Request) -> None:
        if what == "out" and request.call == "submit":
            sizes.append(len(json.loads(request.body or b"")["call_records"]))

    async def main() -> None:
        world = World(max_tokens=1)
        world.transport.watch = watch
        results, summary, fault = await world.run(records(5_000, label_id=STRANGE), CampaignOptions(isolate=isolate))
        check_account(results, summary, world.state)
        assert isinstance(fault, BadRequest)
        assert "label_id" in str(fault)
        assert len(results) == 5_000
        assert {result.outcome for result in results} <= {Outcome.FAILED, Outcome.UNSENT}
        assert sizes.count(BATCH) == 3
        assert len(sizes) <= 3 + 3 * BISECT_POSTS_MAX
        assert world.transport.counts["push"] <= 3 * (STREAK + IN_FLIGHT)

    run_virtual(main)


@pytest.mark.fault("F40", "F41")
def test_occasional_bad_records_do_not_stop_the_run() -> None:
    """Each of many batches is rejected for the same reason, and each has only one bad record."""

    async def main() -> None:
        world = World()
        bad = {number * BATCH + 7 for number in range(5)}
        source = [given for number in range(5) for given in batch(bad, number * BATCH + 1)]
        results, summary, fault = await world.run(source)
        check_account(results, summary, world.state)
        assert fault is None
        assert {result.row for result in results if result.outcome is Outcome.FAILED} == bad
        assert summary.delivered == 5 * (BATCH - 1)

    run_virtual(main)


@pytest.mark.fault("F41")
def test_two_refused_batches_do_not_stop_the_run() -> None:
    async def main() -> None:
        world = World(max_tokens=1)
        source = [*batch({7}), *batch({BATCH + 8}, BATCH + 1), *batch((), 2 * BATCH + 1)]
        results, summary, fault = await world.run(source)
        check_account(results, summary, world.state)
        assert fault is None
        assert {result.row for result in results if result.outcome is Outcome.FAILED} == {7, BATCH + 8}
        assert summary.delivered == 3 * BATCH - 2

    run_virtual(main)


@pytest.mark.fault("F40")
@pytest.mark.parametrize("only_the_first", [True, False])
def test_403_on_the_first_push_switches_to_bisect(only_the_first: bool) -> None:
    def no_entitlement(request: Request, count: int, dice: Random) -> str | None:
        return "403" if request.call == "push" and (count == 1 or not only_the_first) else None

    async def main() -> None:
        world = World(fault=no_entitlement)
        bad = scattered(1)
        results, summary, fault = await world.run([*batch(bad), *batch((), BATCH + 1)])
        check_account(results, summary, world.state)
        assert fault is None
        assert summary.failed == 1
        assert [result.row for result in results if result.outcome is Outcome.FAILED] == list(bad)
        assert world.transport.counts["push"] <= IN_FLIGHT
        assert world.transport.counts["submit"] > 3

    run_virtual(main)
