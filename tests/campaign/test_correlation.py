"""Attribution of results end to end, with masked, shuffled, missing or foreign status rows.

Every record has its true outcome in the log of the sandbox. These tests fail if a result claims another one. A result
that claims nothing must give a reason.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Collection, Iterator
from itertools import chain, combinations
from random import Random
from typing import Literal

import attrs
import pytest

from tests.campaign.world import World, check_account, record
from tests.virtual import BASE, run_virtual
from truecaller_async import CallRecord, CampaignOptions, Outcome, PollPolicy, RecordResult
from truecaller_async.models import Request
from truecaller_async.sandbox import SandboxSettings

COUNT = 60
"""Records of the one batch; two or three of them are affected by each response variant."""

DEADLINE = 600.0
ODD = ("masked-numbers", "shuffled-rows", "missing-rows", "repeated-rows", "contradicting-rows", "foreign-rows")
MIXES = tuple(chain.from_iterable(combinations(ODD, size) for size in range(len(ODD) + 1)))
WAYS: tuple[Literal["auto", "watermark"], ...] = ("auto", "watermark")
CASES = [(names, way, False) for names in MIXES for way in WAYS]
"""The mix, how the rows are given to records, and whether other fields than the numbers distinguish the records."""
CASES += [(names, "auto", True) for names in MIXES if "masked-numbers" in names]
"""The mix, how the rows are given to records, and whether other fields than the numbers tell the records apart."""

STRUCK = (2, 3)
STRANGE = "11111111-2222-4333-8444-555555555555"
"""Label that the account does not have."""


def source(*, telling: bool, failing: bool = True) -> Iterator[CallRecord]:
    """Return records of which every third fails, different by reason or only by receiver."""
    for number in range(1, COUNT + 1):
        last = "13" if failing and number % 3 == 0 else "00"
        reason = f"Calling about order {number}" if telling else "Calling you for KYC"
        yield record(number, receiver=f"9198{number:06d}{last}", reason=reason)


async def campaign(
    names: Collection[str], way: Literal["auto", "watermark"], *, telling: bool, failing: bool = True
) -> list[RecordResult]:
    """Run a campaign of one batch, and check what holds for every case."""
    world = World(settings=SandboxSettings(response_variants=names, resolve_spread=5.0, late_for=60.0))
    options = CampaignOptions(correlate=way, poll=PollPolicy(deadline=DEADLINE))
    given = list(source(telling=telling, failing=failing))
    results, summary, fault = await world.run(given, options)
    assert fault is None
    assert summary.read == COUNT
    assert summary.adds_up
    assert sorted(result.row for result in results) == list(range(1, COUNT + 1))
    if way == "auto":
        check_account(results, summary, world.state)
    check_words(results, world)
    for result in results:
        assert result.attempts == 1
        assert not result.possibly_duplicated
        assert result.record is given[result.row - 1]
    return sorted(results, key=lambda result: result.row)


def check_words(results: list[RecordResult], world: World) -> None:
    """Check that claimed outcomes and messages are true, and that unknown ones give a reason."""
    truth = {entry.receiver: entry for entry in world.state.truth(0, 10_000)}
    for result in results:
        assert result.record is not None
        entry = truth[result.record.receiver]
        assert isinstance(result.record.ends_at, int)
        assert 0 <= result.record.ends_at - (entry.ends_at or 0) < 1000
        if result.outcome is Outcome.UNKNOWN:
            assert why(result) in ("deadline", "conflict", "unattributed")
        else:
            assert (result.outcome is Outcome.DELIVERED) == (entry.outcome == "success")
            assert result.reason in (None, entry.message)


def why(result: RecordResult) -> str:
    """Return the kind of the reason of an unknown result."""
    reason = str(result.reason)
    if reason.startswith("no final status within "):
        return "deadline"
    if reason.startswith("the status rows do not show which record they belong to"):
        return "unattributed"
    return reason.partition(":")[0]


def unknowns(results: list[RecordResult]) -> Counter[str]:
    return Counter(why(result) for result in results if result.outcome is Outcome.UNKNOWN)


@pytest.mark.fault("F33", "F34", "F36", "F37")
@pytest.mark.parametrize(("names", "way", "telling"), CASES)
def test_no_mix_of_abnormal_rows_gives_a_false_outcome(
    names: tuple[str, ...], way: Literal["auto", "watermark"], telling: bool
) -> None:
    async def main() -> None:
        results = await campaign(names, way, telling=telling)
        unknown = unknowns(results)
        if way == "watermark" or "masked-numbers" not in names or (telling and names == ("masked-numbers",)):
            check_attributed(unknown, names)
            assert all(result.record_id for result in results if result.outcome is not Outcome.UNKNOWN)
        else:
            # Two rows contradict each other only when they are final; until then these rows are in order and complete.
            in_order_at_first = telling and names == ("masked-numbers", "contradicting-rows")
            assert unknown.total() == COUNT or in_order_at_first
            assert "conflict" not in unknown

    run_virtual(main)


def check_attributed(unknown: Counter[str], names: tuple[str, ...]) -> None:
    """Check that every row found its record; unknown are only missing or contradictory ones."""
    assert unknown["unattributed"] == 0
    assert unknown["deadline"] in (STRUCK if "missing-rows" in names else (0,))
    # A record without a row has no contradiction either.
    conflicts = (*STRUCK, 0, 1) if "missing-rows" in names else STRUCK
    assert unknown["conflict"] in (conflicts if "contradicting-rows" in names else (0,))


@pytest.mark.fault("F33")
@pytest.mark.parametrize("way", WAYS)
def test_missing_row_is_polled_for_until_the_deadline(way: Literal["auto", "watermark"]) -> None:
    async def main() -> None:
        began = asyncio.get_running_loop().time()
        results = await campaign({"missing-rows"}, way, telling=False)
        assert unknowns(results)["deadline"] in STRUCK
        assert DEADLINE <= asyncio.get_running_loop().time() - began <= DEADLINE + 60

    run_virtual(main)


@pytest.mark.fault("F33")
@pytest.mark.parametrize("names", [(), ("shuffled-rows",), ("masked-numbers", "shuffled-rows")], ids="+".join)
def test_late_rows_are_polled_for_and_give_their_outcome(names: tuple[str, ...]) -> None:
    async def main() -> None:
        way: Literal["auto", "watermark"] = "watermark" if "masked-numbers" in names else "auto"
        results = await campaign({"late-rows", *names}, way, telling=False)
        assert unknowns(results).total() == 0

    run_virtual(main)


@pytest.mark.fault("F37")
def test_late_masked_rows_in_order_match_once_all_have_arrived() -> None:
    async def main() -> None:
        results = await campaign({"masked-numbers", "late-rows"}, "auto", telling=True)
        assert unknowns(results).total() == 0

    run_virtual(main)


@pytest.mark.fault("F37")
def test_shuffled_masked_rows_with_one_status_give_it_without_an_id() -> None:
    async def main() -> None:
        results = await campaign({"masked-numbers", "shuffled-rows"}, "auto", telling=False, failing=False)
        assert {result.outcome for result in results} == {Outcome.DELIVERED}
        assert {result.record_id for result in results} == {None}

    run_virtual(main)


@pytest.mark.fault("F37")
@pytest.mark.parametrize("name", ["missing-rows", "repeated-rows", "contradicting-rows", "foreign-rows"])
def test_common_status_needs_every_row_exactly_once(name: str) -> None:
    async def main() -> None:
        results = await campaign({"masked-numbers", name}, "auto", telling=False, failing=False)
        assert unknowns(results).total() == COUNT

    run_virtual(main)


@pytest.mark.fault("F36")
@pytest.mark.parametrize("way", WAYS)
def test_foreign_rows_are_logged_once_and_not_counted(
    way: Literal["auto", "watermark"], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "truecaller_async")

    async def main() -> None:
        results = await campaign(
            {"foreign-rows", "masked-numbers"} if way == "watermark" else {"foreign-rows"}, way, telling=False
        )
        assert len(results) == COUNT
        assert unknowns(results).total() == 0

    run_virtual(main)
    said = [entry.getMessage() for entry in caplog.records if "status_rows.unmatched" in entry.getMessage()]
    assert len(said) == 1


@pytest.mark.fault("F37", "F40")
@pytest.mark.parametrize("isolate", ["realtime", "bisect"])
def test_parts_of_a_refused_batch_keep_their_watermarks(isolate: Literal["realtime", "bisect"]) -> None:
    async def main() -> None:
        world = World(settings=SandboxSettings(response_variants={"masked-numbers", "shuffled-rows"}))
        given = list(source(telling=False))
        given[17] = attrs.evolve(given[17], label_id=STRANGE)
        results, summary, fault = await world.run(given, CampaignOptions(correlate="watermark", isolate=isolate))
        assert fault is None
        assert summary.adds_up
        check_words([result for result in results if result.row != 18], world)
        assert unknowns(results).total() == 0

    run_virtual(main)


@pytest.mark.fault("F37", "F45")
def test_batch_that_lost_a_record_before_sending_keeps_its_watermarks() -> None:
    async def main() -> None:
        settings = SandboxSettings(response_variants={"masked-numbers", "shuffled-rows"})
        world = World(settings=settings, fault=not_sent_for_a_while)
        given = list(source(telling=False))
        given[17] = attrs.evolve(given[17], ends_at=int(BASE * 1000) + 70_000)
        results, summary, fault = await world.run(given, CampaignOptions(correlate="watermark"))
        assert fault is None
        assert (summary.adds_up, summary.expired) == (True, 1)
        check_words([result for result in results if result.row != 18], world)
        assert unknowns(results).total() == 0

    run_virtual(main)


def not_sent_for_a_while(request: Request, count: int, dice: Random) -> str | None:
    """Fail connections until the window of one record has closed."""
    return "429:30" if request.call == "submit" and count == 1 else None
