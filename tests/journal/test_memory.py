"""The journal in memory keeps only what a later run needs."""

from __future__ import annotations

from tests.journal.storing import store
from truecaller_async.journal import MemoryJournal
from truecaller_async.models import Outcome
from truecaller_async.models.journal_entries import BatchPlanned, RowsRead, RowsSettled, SourcePosition


async def test_fingerprints_are_kept_only_for_a_resumable_journal() -> None:
    for resumable in (True, False):
        journal = MemoryJournal(resumable=resumable)
        state = await journal.open(is_new=True)
        read = RowsRead(SourcePosition(1, 2, 30), b"fingerprints")
        await store(journal, state, BatchPlanned(1, (1,)), read)
        assert journal.resumable is resumable
        assert list(await journal.read_blocks(0, 9)) == [read] * resumable


async def test_batch_is_forgotten_with_its_last_row() -> None:
    journal = MemoryJournal(resumable=True)
    state = await journal.open(is_new=True)
    await store(journal, state, BatchPlanned(1, (1, 2, 3)), RowsRead(SourcePosition(3, 4, 90)))
    await store(journal, state, RowsSettled((1, 3), Outcome.DELIVERED, seq=1))
    assert list(state.batches[1].open_rows) == [2]
    await store(journal, state, RowsSettled((2,), Outcome.DELIVERED, seq=1))
    assert state.batches == {}
    assert state.outcomes == {Outcome.DELIVERED: 3}
