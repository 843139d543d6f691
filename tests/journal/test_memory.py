"""The journal that lives as long as the process."""

from __future__ import annotations

from truecaller_async.journal import MemoryJournal
from truecaller_async.models import AttemptEnded, Intent, Outcome, Planned, Settled


def settled(seq: int | None, *rows: int) -> Settled:
    return Settled(rows, Outcome.DELIVERED, seq=seq)


async def test_a_batch_is_forgotten_with_its_last_row() -> None:
    journal = MemoryJournal()
    await journal.write(Planned(1, (1, 2, 3)))
    await journal.write(settled(1, 1, 3))
    assert journal.open[1].rows == {2}
    await journal.write(settled(1, 2))
    assert journal.open == {}
    assert journal.settled == {Outcome.DELIVERED: 3}


async def test_an_open_batch_says_where_it_is() -> None:
    journal = MemoryJournal()
    await journal.write(Planned(1, (1,)), Intent(1, 1, "token", 5.0))
    assert journal.open[1].in_flight
    await journal.write(AttemptEnded(1, 1, "lost", 6.0), Intent(1, 2, "token", 7.0))
    await journal.write(AttemptEnded(1, 2, "accepted", 8.0, batch_id="b-1"))
    batch = journal.open[1]
    assert (batch.in_flight, batch.attempts, batch.events, batch.batch_id) == (False, 2, ["lost", "accepted"], "b-1")


async def test_rows_of_a_split_batch_move_to_its_parts() -> None:
    journal = MemoryJournal()
    await journal.write(Planned(1, (1, 2, 3)), Planned(2, (1,), parent=1))
    assert (journal.open[1].rows, journal.open[2].rows) == ({2, 3}, {1})
    await journal.write(Planned(3, (2, 3), parent=1))
    assert sorted(journal.open) == [2, 3]


async def test_rows_of_several_batches_join_in_one() -> None:
    journal = MemoryJournal()
    await journal.write(Planned(1, (1,)), Planned(2, (2,)))
    await journal.write(Planned(3, (1,), parent=1), Planned(3, (2,), parent=2))
    assert {seq: batch.rows for seq, batch in journal.open.items()} == {3: {1, 2}}
    await journal.write(settled(3, 1))
    await journal.write(settled(3, 2))
    assert journal.open == {}


async def test_rows_settled_without_a_batch_are_counted() -> None:
    journal = MemoryJournal()
    await journal.write(settled(None, 1, 2))
    assert journal.settled == {Outcome.DELIVERED: 2}
