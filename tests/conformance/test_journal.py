"""What every `Journal` promises."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import TypeAlias

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.journal.stories import BEGUN, Teller, picture, tellers
from truecaller_async.errors import JournalBusy, JournalError
from truecaller_async.journal import MemoryJournal, SqliteJournal, filesystem
from truecaller_async.models import (
    AttemptEnded,
    AttemptStarted,
    BatchPlanned,
    JournalEntry,
    Outcome,
    RowsRead,
    RowsSettled,
    RunStarted,
    SourcePosition,
)
from truecaller_async.planning.batch_state import BatchState
from truecaller_async.ports import Journal

Shelf: TypeAlias = Callable[[], Journal]
"""Gives the journal of one campaign, again and again, as another run would get it."""

PLANNED = BatchPlanned(1, (1, 2))
READ = RowsRead(SourcePosition(2, 3, 60), b"prints")
INTENT = AttemptStarted(1, 1, "0123456789ab", 10.0)
ENDED = AttemptEnded(1, 1, "accepted", 11.0, batch_id="b-1")
DELIVERED = RowsSettled((1,), Outcome.DELIVERED, seq=1)
FAILED = RowsSettled((2,), Outcome.FAILED, "not a user", seq=1)
LIFE = (BEGUN, PLANNED, READ, INTENT, ENDED, DELIVERED, FAILED)


KINDS = ("memory", "sqlite", "sqlite on a network")
ON_NFS = "1 1 0:1 / / rw,relatime shared:1 - nfs4 server:/export rw\n"


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "sqlite on a network":
        (tmp_path / "mountinfo").write_text(ON_NFS)
        monkeypatch.setattr(filesystem, "MOUNTS", tmp_path / "mountinfo")
    return str(request.param)


@pytest.fixture
async def shelf(kind: str, tmp_path: Path) -> AsyncIterator[Shelf]:
    """Journals of one path; whatever a test leaves open is closed behind it."""
    made: list[Journal] = []
    take = shelf_of(kind, tmp_path / "campaign.db")

    def shelf() -> Journal:
        made.append(take())
        return made[-1]

    yield shelf
    for journal in made:
        await journal.aclose()


def shelf_of(kind: str, path: Path) -> Shelf:
    memory = MemoryJournal(resumable=True)
    return (lambda: memory) if kind == "memory" else (lambda: SqliteJournal(path))


async def test_batch_life_is_written_entry_by_entry(shelf: Shelf) -> None:
    journal = shelf()
    state = await journal.open(is_new=True)
    for entry in LIFE:
        await journal.write(entry)
    assert state.outcome_counts() == {Outcome.DELIVERED: 1, Outcome.FAILED: 1}
    await journal.aclose()


async def test_several_entries_are_one_write_and_no_entries_are_no_write(shelf: Shelf) -> None:
    journal = shelf()
    state = await journal.open(is_new=True)
    await journal.write(*LIFE)
    await journal.write()
    assert state.position == READ.position
    assert state.batches == {}
    await journal.aclose()


async def test_closed_journal_resumes_at_the_same_state(shelf: Shelf) -> None:
    journal = shelf()
    await journal.open(is_new=True)
    await journal.write(*LIFE[:-2], DELIVERED)
    await journal.aclose()
    journal = shelf()
    state = await journal.open(is_new=False)
    (batch,) = state.open
    assert (batch.state, batch.batch_id, list(batch.open_rows)) == (BatchState.ACCEPTED, "b-1", [2])
    assert state.started == BEGUN
    await journal.write(FAILED)
    assert state.outcome_counts() == {Outcome.DELIVERED: 1, Outcome.FAILED: 1}
    await journal.aclose()


async def test_journal_with_a_campaign_cannot_be_started_again(shelf: Shelf) -> None:
    journal = shelf()
    await journal.open(is_new=True)
    await journal.write(BEGUN)
    await journal.aclose()
    with pytest.raises(JournalError, match="resume"):
        await shelf().open(is_new=True)
    state = await shelf().open(is_new=False)
    assert state.started == BEGUN


async def test_journal_without_a_campaign_cannot_be_resumed(shelf: Shelf) -> None:
    with pytest.raises(JournalError):
        await shelf().open(is_new=False)
    journal = shelf()
    await journal.open(is_new=True)
    await journal.aclose()
    with pytest.raises(JournalError, match="no campaign"):
        await shelf().open(is_new=False)
    journal = shelf()
    await journal.open(is_new=True)
    await journal.aclose()


async def test_open_journal_is_busy_and_stays_open(shelf: Shelf) -> None:
    journal = shelf()
    await journal.open(is_new=True)
    await journal.write(BEGUN)
    for anew in (True, False):
        with pytest.raises(JournalBusy):
            await shelf().open(is_new=anew)
    await journal.write(RunStarted(1.0, 1))
    await journal.aclose()


@pytest.mark.parametrize("entries", [[INTENT], [ENDED], [PLANNED, ENDED], [PLANNED, INTENT, ENDED, ENDED]])
async def test_impossible_entry_is_refused_and_nothing_is_written_after_it(
    shelf: Shelf, entries: list[JournalEntry]
) -> None:
    journal = shelf()
    await journal.open(is_new=True)
    with pytest.raises(JournalError):
        await journal.write(*entries)
    with pytest.raises(JournalError):
        await journal.write(PLANNED)
    await journal.aclose()


async def test_concurrent_writes_keep_the_order_of_the_calls(shelf: Shelf) -> None:
    journal = shelf()
    await journal.open(is_new=True)
    await asyncio.gather(*(journal.write(entry) for entry in LIFE))
    await journal.aclose()
    state = await shelf().open(is_new=False)
    assert state.outcome_counts() == {Outcome.DELIVERED: 1, Outcome.FAILED: 1}


async def test_cancelled_write_loses_nothing(shelf: Shelf) -> None:
    journal = shelf()
    await journal.open(is_new=True)
    await journal.write(BEGUN)
    waiter = asyncio.create_task(journal.write(PLANNED, READ))
    await asyncio.sleep(0)
    waiter.cancel()
    await journal.write(INTENT)
    await asyncio.wait([waiter])
    await journal.aclose()
    state = await shelf().open(is_new=False)
    assert state.batch(1).state is BatchState.IN_FLIGHT


async def test_close_waits_for_pending_writes_and_may_be_repeated(shelf: Shelf) -> None:
    journal = shelf()
    await journal.open(is_new=True)
    writes = [asyncio.create_task(journal.write(entry)) for entry in LIFE]
    await asyncio.sleep(0)
    await journal.aclose()
    await asyncio.gather(*writes)
    await journal.aclose()
    with pytest.raises(JournalError, match="closed"):
        await journal.write(PLANNED)


async def test_read_back_entries_come_in_chunks(shelf: Shelf) -> None:
    journal = shelf()
    await journal.open(is_new=True)
    reads = [RowsRead(SourcePosition(row, row + 1, 30 * row), b"p" * row) for row in (2, 3, 7)]
    await journal.write(BEGUN)
    for seq, rows in enumerate([(1, 2), (3,), (4, 5, 6, 7)]):
        await journal.write(BatchPlanned(seq + 1, rows), reads[seq])
    assert list(await journal.read_blocks(0, 2)) == reads[:2]
    assert list(await journal.read_blocks(2, 9)) == reads[1:]
    assert list(await journal.read_blocks(7, 9)) == []
    await journal.aclose()


@given(teller=tellers(), steps=st.integers(1, 25))
@settings(max_examples=12, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
def test_resume_after_any_interrupted_prefix_starts_at_its_state(
    kind: str, tmp_path_factory: pytest.TempPathFactory, teller: Teller, steps: int
) -> None:
    shelf = shelf_of(kind, tmp_path_factory.mktemp("journal") / "campaign.db")

    async def tell() -> None:
        for step in range(steps):
            async with aclosing(shelf()) as journal:
                state = await journal.open(is_new=not step)
                await journal.write(*teller.transaction())
                assert picture(state) == picture(teller.state)
        async with aclosing(shelf()) as journal:
            assert picture(await journal.open(is_new=False)) == picture(teller.state)

    asyncio.run(tell())
