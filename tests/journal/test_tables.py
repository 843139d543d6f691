"""The tables of a journal restore the state that the entries produced."""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.journal.entry_generator import STARTED, EntryGenerator, comparable, entry_generators
from truecaller_async.journal import outcome_kinds
from truecaller_async.journal.database_file import create
from truecaller_async.journal.handle import JournalHandle, open_handle
from truecaller_async.journal.load import load_builder
from truecaller_async.journal.reader import JournalReader
from truecaller_async.journal.schema import SCHEMA
from truecaller_async.journal.statements import StatementBuilder
from truecaller_async.models import Outcome
from truecaller_async.models.journal_entries import (
    AttemptEnded,
    AttemptStarted,
    BatchPlanned,
    JournalEntry,
    RowsRead,
    RowsSettled,
    SourcePosition,
)

NUMBER = "919876543210"


def builder_in_memory() -> tuple[sqlite3.Connection, StatementBuilder]:
    db = sqlite3.connect(":memory:", isolation_level=None)
    db.executescript(SCHEMA)
    return db, load_builder(db)


def write(db: sqlite3.Connection, builder: StatementBuilder, *entries: JournalEntry) -> None:
    changed = {batch.seq: batch for entry in entries for batch in builder.state.apply(entry)}
    for sql, parameters in builder.build(entries, changed.values()):
        db.executemany(sql, parameters)


def new(path: Path) -> JournalHandle:
    path.touch(0o600)
    create(path)
    return open_handle(path, is_new=True)


@given(entry_generators(), st.integers(1, 80))
@settings(max_examples=100)
def test_tables_give_the_same_state_after_every_transaction(generator: EntryGenerator, steps: int) -> None:
    db, builder = builder_in_memory()
    with closing(db):
        for _ in range(steps):
            write(db, builder, *generator.transaction())
            loaded = load_builder(db)
            assert comparable(loaded.state) == comparable(generator.state)
            if generator.rng.random() < 0.3:
                builder = loaded
                write(db, builder, *generator.restart())
            assert comparable(builder.state, with_run=True) == comparable(generator.state, with_run=True)


@given(generator=entry_generators(), steps=st.integers(1, 80))
@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
def test_every_row_is_read_once_in_order_with_its_outcome(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory, generator: EntryGenerator, steps: int
) -> None:
    monkeypatch.setattr("truecaller_async.journal.reader.WINDOW_ROWS", 7)
    path = tmp_path_factory.mktemp("journal") / "campaign.db"
    with closing(new(path)) as handle:
        for _ in range(steps):
            handle.record(generator.transaction())
    state = generator.state
    with JournalReader(path) as reader:
        outcomes = list(reader.row_outcomes())
        assert comparable(reader.state()) == comparable(state)
        assert list(reader.row_outcomes(after=3)) == outcomes[3:]
        reasons = reader.reasons(100)
    assert [one.row for one in outcomes] == list(range(1, state.position.row + 1))
    for one in outcomes:
        fate = generator.fates[one.row]
        if isinstance(fate, int):
            batch = state.batch(fate)
            assert (one.seq, one.final, one.outcome) == (fate, False, batch.provisional_outcome)
            assert (one.attempts, one.possibly_duplicated, one.batch_id) == (
                batch.maybe_received,
                batch.possibly_duplicated,
                batch.batch_id,
            )
        else:
            assert (one.outcome, one.reason, one.field, one.attempts, one.possibly_duplicated, one.seq) == fate
            assert one.final
    final = [fate for fate in generator.fates.values() if not isinstance(fate, int)]
    assert {(outcome, reason): count for outcome, reason, count in reasons} == Counter(
        (fate[0], fate[1]) for fate in final if fate[1] is not None
    )


def test_delivered_rows_need_no_table_row_of_their_own() -> None:
    db, builder = builder_in_memory()
    rows = tuple(range(1, 501))
    write(db, builder, BatchPlanned(1, rows), RowsRead(SourcePosition(500, 500, 9)), AttemptStarted(1, 1, "t", 1.0))
    write(db, builder, AttemptEnded(1, 1, "accepted", 2.0, "b-1"))
    write(db, builder, RowsSettled(rows[:100], Outcome.DELIVERED, seq=1, attempts=1))
    write(db, builder, RowsSettled(rows[100:103], Outcome.FAILED, "not a user", 1, attempts=1))
    assert db.execute("SELECT count(*) FROM row_outcome").fetchone() == (0,)
    write(db, builder, RowsSettled(rows[103:], Outcome.DELIVERED, seq=1, attempts=1))
    assert db.execute("SELECT row FROM row_outcome").fetchall() == [(101,), (102,), (103,)]
    assert db.execute("SELECT common_outcome_rows, open_rows, closed, pending_outcomes FROM batch").fetchall() == [
        (497, 0, None, None)
    ]
    db.close()


def test_outcomes_of_a_batch_survive_changes_to_its_parts() -> None:
    db, builder = builder_in_memory()
    write(
        db,
        builder,
        BatchPlanned(1, (1, 2, 3)),
        RowsRead(SourcePosition(3, 0, 0)),
        AttemptStarted(1, 1, "t", 1.0),
        AttemptEnded(1, 1, "rejected", 2.0),
        BatchPlanned(2, (3,), 1),
    )
    write(db, builder, RowsSettled((1, 2), Outcome.EXPIRED, "too late", 1))
    # The root is written again while it has no open rows.
    for sql, parameters in builder.build([], [builder.state.batches[1]]):
        db.executemany(sql, parameters)
    common = (
        "SELECT batch.state, common_outcome_rows, outcome_kind.reason"
        " FROM batch JOIN outcome_kind ON id = common_outcome WHERE seq = 1"
    )
    assert db.execute(common).fetchall() == [("rejected", 2, "too late")]
    db.close()


def test_payload_is_stored_until_the_last_row_of_its_batch_is_final() -> None:
    db, builder = builder_in_memory()
    write(db, builder, BatchPlanned(1, (1, 2), payload=b"records"), RowsRead(SourcePosition(2, 0, 0)))
    assert db.execute("SELECT * FROM payload").fetchall() == [(1, b"records")]
    write(db, builder, RowsSettled((1,), Outcome.DELIVERED, seq=1))
    assert load_builder(db).state.batch(1).payload == b"records"
    write(db, builder, RowsSettled((2,), Outcome.DELIVERED, seq=1))
    assert db.execute("SELECT * FROM payload").fetchall() == []
    db.close()


def test_no_full_number_reaches_the_disk_whatever_the_server_sends() -> None:
    db, builder = builder_in_memory()
    message = f"receiver {NUMBER} and 9198 7654 3210 \ud800 are bad"
    write(
        db,
        builder,
        STARTED,
        BatchPlanned(1, (1, 2, 3)),
        RowsRead(SourcePosition(3, 0, 0)),
        AttemptStarted(1, 1, "t", 1.0),
    )
    write(db, builder, AttemptEnded(1, 1, "rejected", 2.0, detail=message, reason=message, field=message))
    write(db, builder, RowsSettled((1, 2), Outcome.FAILED, message, 1, message))
    dump = "\n".join(db.iterdump())
    assert NUMBER not in dump
    assert "7654" not in dump
    assert "********3210" in dump
    db.close()


def test_more_distinct_outcomes_than_the_cache_holds_are_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outcome_kinds, "CACHED_OUTCOMES_MAX", 3)
    db, builder = builder_in_memory()
    rows = tuple(range(1, 41))
    write(db, builder, BatchPlanned(1, rows), RowsRead(SourcePosition(40, 0, 0)))
    write(db, builder, *(RowsSettled((row,), Outcome.FAILED, f"reason {row % 10}", 1) for row in rows))
    found = db.execute("SELECT row, reason FROM row_outcome JOIN outcome_kind ON id = outcome_id").fetchall()
    common = db.execute("SELECT outcome_kind.reason FROM batch JOIN outcome_kind ON id = common_outcome").fetchone()[0]
    assert len(found) >= 36
    assert all(reason == f"reason {row % 10}" for row, reason in found)
    assert {row for row in rows if f"reason {row % 10}" == common} >= set(rows) - {row for row, _ in found}
    db.close()
