"""The journal that lives as long as the process."""

from __future__ import annotations

from truecaller_async.journal import MemoryJournal
from truecaller_async.models import Outcome, Place, Planned, Read, Settled


async def test_fingerprints_are_kept_only_for_a_resumable_journal() -> None:
    for resumable in (True, False):
        journal = MemoryJournal(resumable=resumable)
        await journal.open(anew=True)
        read = Read(Place(1, 2, 30), b"prints")
        await journal.write(Planned(1, (1,)), read)
        assert journal.resumable is resumable
        assert list(await journal.reads(0, 9)) == [read] * resumable


async def test_batch_is_forgotten_with_its_last_row() -> None:
    journal = MemoryJournal(resumable=True)
    standing = await journal.open(anew=True)
    await journal.write(Planned(1, (1, 2, 3)), Read(Place(3, 4, 90)))
    await journal.write(Settled((1, 3), Outcome.DELIVERED, seq=1))
    assert list(standing.batches[1].open) == [2]
    await journal.write(Settled((2,), Outcome.DELIVERED, seq=1))
    assert standing.batches == {}
    assert standing.outcomes == {Outcome.DELIVERED: 3}
