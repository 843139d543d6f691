"""Every `Journal` behaves the same: durability, order, refusals, reopening."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import TypeAlias

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.journal.entry_generator import STARTED, EntryGenerator, comparable, entry_generators
from tests.journal.storing import store
from truecaller_async.campaign.core.batch_state import BatchState
from truecaller_async.errors import JournalBusy, JournalError
from truecaller_async.journal import MemoryJournal, SqliteJournal
from truecaller_async.models import Outcome
from truecaller_async.models.journal_entries import (
    AttemptEnded,
    AttemptStarted,
    BatchPlanned,
    BatchReleased,
    JournalEntry,
    NoteAdded,
    RowsRead,
    RowsSettled,
    RunStarted,
    SourcePosition,
)
from truecaller_async.ports import Journal
from truecaller_async.storage import filesystem

JournalFactory: TypeAlias = Callable[[], Journal]
"""Returns a journal object for the same campaign at each call, as another run would create it."""

PLANNED = BatchPlanned(1, (1, 2))
READ = RowsRead(SourcePosition(2, 3, 60), b"fingerprints")
ATTEMPT = AttemptStarted(1, 1, "0123456789ab", 10.0)
ENDED = AttemptEnded(1, 1, "accepted", 11.0, batch_id="b-1")
DELIVERED = RowsSettled((1,), Outcome.DELIVERED, seq=1)
FAILED = RowsSettled((2,), Outcome.FAILED, "not a user", seq=1)
LIFE = (STARTED, PLANNED, READ, ATTEMPT, ENDED, DELIVERED, FAILED)


KINDS = ("memory", "sqlite", "sqlite on a network")
ON_NFS = "1 1 0:1 / / rw,relatime shared:1 - nfs4 server:/export rw\n"


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "sqlite on a network":
        (tmp_path / "mountinfo").write_text(ON_NFS)
        monkeypatch.setattr(filesystem, "MOUNTS", tmp_path / "mountinfo")
    return str(request.param)


@pytest.fixture
async def new_journal(kind: str, tmp_path: Path) -> AsyncIterator[JournalFactory]:
    """Yield a factory of journals of one path; close the journals that a test leaves open."""
    made: list[Journal] = []
    create = factory_of(kind, tmp_path / "campaign.db")

    def new_journal() -> Journal:
        made.append(create())
        return made[-1]

    yield new_journal
    for journal in made:
        await journal.aclose()


def factory_of(kind: str, path: Path) -> JournalFactory:
    memory = MemoryJournal(resumable=True)
    return (lambda: memory) if kind == "memory" else (lambda: SqliteJournal(path))


async def test_batch_life_is_written_entry_by_entry(new_journal: JournalFactory) -> None:
    journal = new_journal()
    state = await journal.open(is_new=True)
    for entry in LIFE:
        await store(journal, state, entry)
    assert state.outcome_counts() == {Outcome.DELIVERED: 1, Outcome.FAILED: 1}
    await journal.aclose()


async def test_several_entries_are_one_write_and_no_entries_are_no_write(new_journal: JournalFactory) -> None:
    journal = new_journal()
    state = await journal.open(is_new=True)
    await store(journal, state, *LIFE)
    await store(journal, state)
    assert state.position == READ.position
    assert state.batches == {}
    await journal.aclose()


async def test_closed_journal_resumes_at_the_same_state(new_journal: JournalFactory) -> None:
    journal = new_journal()
    state = await journal.open(is_new=True)
    await store(journal, state, *LIFE[:-2], DELIVERED)
    await journal.aclose()
    journal = new_journal()
    state = await journal.open(is_new=False)
    (batch,) = state.open
    assert (batch.state, batch.batch_id, list(batch.open_rows)) == (BatchState.ACCEPTED, "b-1", [2])
    assert state.started == STARTED
    await store(journal, state, FAILED)
    assert state.outcome_counts() == {Outcome.DELIVERED: 1, Outcome.FAILED: 1}
    await journal.aclose()


async def test_journal_with_a_campaign_cannot_be_started_again(new_journal: JournalFactory) -> None:
    journal = new_journal()
    state = await journal.open(is_new=True)
    await store(journal, state, STARTED)
    await journal.aclose()
    with pytest.raises(JournalError, match="Resume"):
        await new_journal().open(is_new=True)
    state = await new_journal().open(is_new=False)
    assert state.started == STARTED


async def test_journal_without_a_campaign_cannot_be_resumed(new_journal: JournalFactory) -> None:
    with pytest.raises(JournalError):
        await new_journal().open(is_new=False)
    journal = new_journal()
    await journal.open(is_new=True)
    await journal.aclose()
    with pytest.raises(JournalError, match="no campaign"):
        await new_journal().open(is_new=False)
    journal = new_journal()
    await journal.open(is_new=True)
    await journal.aclose()


async def test_open_journal_is_busy_and_stays_open(new_journal: JournalFactory) -> None:
    journal = new_journal()
    state = await journal.open(is_new=True)
    await store(journal, state, STARTED)
    for is_new in (True, False):
        with pytest.raises(JournalBusy):
            await new_journal().open(is_new=is_new)
    await store(journal, state, RunStarted(1.0, 1))
    await journal.aclose()


@pytest.mark.parametrize("entries", [[ATTEMPT], [ENDED], [PLANNED, ENDED], [PLANNED, ATTEMPT, ENDED, ENDED]])
async def test_entry_that_the_state_refuses_never_reaches_the_journal(
    new_journal: JournalFactory, entries: list[JournalEntry]
) -> None:
    journal = new_journal()
    state = await journal.open(is_new=True)
    await store(journal, state, STARTED)
    with pytest.raises(JournalError):
        await store(journal, state, *entries)
    await journal.aclose()
    assert (await new_journal().open(is_new=False)).started == STARTED


async def test_released_batch_is_open_again_in_the_next_run(new_journal: JournalFactory) -> None:
    journal = new_journal()
    state = await journal.open(is_new=True)
    await store(journal, state, STARTED, PLANNED, READ)
    await store(journal, state, BatchReleased(1, Outcome.UNSENT, "stopped"), NoteAdded("n", "stopped"))
    assert state.run.provisional == {Outcome.UNSENT: 2}
    await journal.aclose()
    journal = new_journal()
    state = await journal.open(is_new=False)
    await store(journal, state, RunStarted(9.0, 1))
    assert state.notes == {"n": "stopped"}
    assert not state.batch(1).released
    assert not state.run.provisional


async def test_concurrent_writes_keep_the_order_of_the_calls(new_journal: JournalFactory) -> None:
    journal = new_journal()
    state = await journal.open(is_new=True)
    await asyncio.gather(*(store(journal, state, entry) for entry in LIFE))
    await journal.aclose()
    state = await new_journal().open(is_new=False)
    assert state.outcome_counts() == {Outcome.DELIVERED: 1, Outcome.FAILED: 1}


async def test_cancelled_write_loses_nothing(new_journal: JournalFactory) -> None:
    journal = new_journal()
    state = await journal.open(is_new=True)
    await store(journal, state, STARTED)
    waiter = asyncio.create_task(store(journal, state, PLANNED, READ))
    await asyncio.sleep(0)
    waiter.cancel()
    await store(journal, state, ATTEMPT)
    await asyncio.wait([waiter])
    await journal.aclose()
    state = await new_journal().open(is_new=False)
    assert state.batch(1).state is BatchState.IN_FLIGHT


async def test_close_waits_for_pending_writes_and_may_be_repeated(new_journal: JournalFactory) -> None:
    journal = new_journal()
    state = await journal.open(is_new=True)
    writes = [asyncio.create_task(store(journal, state, entry)) for entry in LIFE]
    await asyncio.sleep(0)
    await journal.aclose()
    await asyncio.gather(*writes)
    await journal.aclose()
    with pytest.raises(JournalError, match="closed"):
        await store(journal, state, NoteAdded("n", "late"))


async def test_read_back_entries_come_in_chunks(new_journal: JournalFactory) -> None:
    journal = new_journal()
    state = await journal.open(is_new=True)
    reads = [RowsRead(SourcePosition(row, row + 1, 30 * row), b"p" * row) for row in (2, 3, 7)]
    await store(journal, state, STARTED)
    for seq, rows in enumerate([(1, 2), (3,), (4, 5, 6, 7)]):
        await store(journal, state, BatchPlanned(seq + 1, rows), reads[seq])
    assert list(await journal.read_blocks(0, 2)) == reads[:2]
    assert list(await journal.read_blocks(2, 9)) == reads[1:]
    assert list(await journal.read_blocks(7, 9)) == []
    await journal.aclose()


@given(generator=entry_generators(), steps=st.integers(1, 25))
@settings(max_examples=12, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
def test_resume_after_any_interrupted_prefix_starts_at_its_state(
    kind: str, tmp_path_factory: pytest.TempPathFactory, generator: EntryGenerator, steps: int
) -> None:
    new_journal = factory_of(kind, tmp_path_factory.mktemp("journal") / "campaign.db")

    async def write_steps() -> None:
        for step in range(steps):
            async with aclosing(new_journal()) as journal:
                state = await journal.open(is_new=not step)
                await store(journal, state, *(generator.restart() if step else generator.transaction()))
                assert comparable(state, with_run=True) == comparable(generator.state, with_run=True)
                for _ in range(generator.rng.randint(0, 3)):
                    await store(journal, state, *generator.transaction())
                assert comparable(state, with_run=True) == comparable(generator.state, with_run=True)
        async with aclosing(new_journal()) as journal:
            state = await journal.open(is_new=False)
            assert comparable(state) == comparable(generator.state)

    asyncio.run(write_steps())
