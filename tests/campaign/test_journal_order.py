"""Order of the journal entries, on which resuming from a durable journal depends."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence

import pytest

from tests.campaign.durable_memory import DurableMemory
from tests.campaign.world import World, check_account, record, records
from tests.virtual import run_virtual
from truecaller_async import CampaignOptions, JournalError, Outcome, RecordResult
from truecaller_async.campaign.core.batch import CampaignBatch
from truecaller_async.campaign.startup.start import CampaignRequest
from truecaller_async.campaign.stream import CampaignStream
from truecaller_async.models import Request
from truecaller_async.models.journal_entries import (
    AttemptEnded,
    AttemptStarted,
    BatchPlanned,
    JournalEntry,
    RowsSettled,
)


class RecordingJournal(DurableMemory):
    """Journal that stores all entries, and may fail at its n-th write. `heard` has the entries that are stored."""

    def __init__(self, breaks_at: int | None = None) -> None:
        super().__init__()
        self._breaks_at = breaks_at
        self.writes = 0

    @property
    def heard(self) -> list[JournalEntry]:
        return self.entries

    def append(self, entries: Sequence[JournalEntry], changed: Iterable[CampaignBatch]) -> asyncio.Future[None] | None:
        self.writes += 1
        stored: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(self._end, stored, list(entries), self.writes)
        return stored

    def _end(self, stored: asyncio.Future[None], entries: list[JournalEntry], number: int) -> None:
        if self._breaks_at is not None and number >= self._breaks_at:
            stored.set_exception(JournalError("the disk is full"))
        else:
            self.store(entries)
            stored.set_result(None)


def in_flight(heard: list[JournalEntry]) -> int:
    """Return the attempts in the journal that were started and have not ended."""
    kinds = Counter(type(entry) for entry in heard)
    return kinds[AttemptStarted] - kinds[AttemptEnded]


async def run(
    world: World, ear: RecordingJournal, source: object
) -> tuple[list[RecordResult], CampaignStream, Exception | None]:
    stream = CampaignStream(CampaignRequest(world.client._campaign_deps, source, CampaignOptions(), lambda: ear))
    results: list[RecordResult] = []
    fault = None
    async with world.client, stream:
        try:
            async for result in stream:
                results.append(result)  # noqa: PERF401 - kept one by one, for the case that the stream raises
        except JournalError as error:
            fault = error
    return results, stream, fault


def test_intent_is_written_before_the_batch_leaves() -> None:
    async def main() -> None:
        world, ear = World(latency=(0.0, 3.0)), RecordingJournal()
        seen: list[tuple[int, int]] = []
        flying = 0

        def watch(way: str, request: Request) -> None:
            nonlocal flying
            if request.call == "submit":
                flying += 1 if way == "out" else -1
                seen.append((in_flight(ear.heard), flying))

        world.transport.watch = watch
        await run(world, ear, records(20_000))
        assert len(seen) == 80
        assert all(journal >= wire for journal, wire in seen)

    run_virtual(main)


def test_every_row_is_planned_or_finished_and_every_attempt_ends() -> None:
    async def main() -> None:
        world, ear = World(), RecordingJournal()
        source = [*records(1_200), record(3), {"caller": "nobody"}]
        results, stream, _ = await run(world, ear, source)
        check_account(results, stream.summary, world.state)
        planned = [row for entry in ear.heard if isinstance(entry, BatchPlanned) for row in entry.rows]
        settled = [row for entry in ear.heard if isinstance(entry, RowsSettled) for row in entry.rows]
        assert sorted(planned) == list(range(1, 1_201))
        assert sorted(settled) == list(range(1, 1_203))
        assert in_flight(ear.heard) == 0
        assert ear.state.complete

    run_virtual(main)


def test_end_of_an_attempt_is_written_before_its_batch_is_polled() -> None:
    async def main() -> None:
        world, ear = World(), RecordingJournal()
        accepted: list[bool] = []

        def watch(way: str, request: Request) -> None:
            if (way, request.call) == ("out", "status"):
                known = {entry.batch_id for entry in ear.heard if isinstance(entry, AttemptEnded)}
                accepted.append(request.path.rpartition("=")[2] in known)

        world.transport.watch = watch
        await run(world, ear, records(2_000))
        assert accepted
        assert all(accepted)

    run_virtual(main)


def test_campaign_does_not_start_if_the_journal_write_fails() -> None:
    async def main() -> None:
        world, ear = World(), RecordingJournal(breaks_at=1)
        with pytest.raises(JournalError, match="the disk is full"):
            await run(world, ear, records(10_000))
        assert not world.transport.counts

    run_virtual(main)


@pytest.mark.parametrize("breaks_at", [2, 3, 4, 7, 12, 20, 30])
def test_nothing_is_sent_if_the_journal_write_fails(breaks_at: int) -> None:
    async def main() -> None:
        world, ear = World(), RecordingJournal(breaks_at=breaks_at)
        results, stream, fault = await run(world, ear, records(10_000))
        assert isinstance(fault, JournalError)
        assert stream.summary.adds_up
        assert sorted(result.row for result in results) == list(range(1, stream.summary.read + 1))
        intents = sum(isinstance(entry, AttemptStarted) for entry in ear.heard)
        assert world.transport.counts["submit"] == intents
        delivered = {result.row for result in results if result.outcome is Outcome.DELIVERED}
        assert len(delivered) <= world.state.stats().records_applied

    run_virtual(main)
