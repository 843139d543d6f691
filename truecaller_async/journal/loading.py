"""From the tables back to where the campaign stands.

Only what a run needs is loaded: the totals, the open batches, and the roots of such. A journal of ten million rows is
loaded as fast as one of ten thousand.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from truecaller_async.errors import JournalBusy, JournalError
from truecaller_async.journal.rows import unpacked
from truecaller_async.journal.scribe import SaidOf, Scribe
from truecaller_async.journal.texts import WORDS_MAX, Words
from truecaller_async.models import Begun, Outcome, Place, RunBegan, SourceNote, Spent
from truecaller_async.planning.batch_state import State
from truecaller_async.planning.replay import OpenBatch, Standing
from truecaller_async.storage.sqlite_worker import is_busy

BATCH = """SELECT
    b.seq, parent, root, via, begins_row, begins_lines, begins_offset, row0, last, rows,
    state, tries, sends, doubts, resent, let_go, batch_id, accepted_at, reason, field,
    left_out, owes, closed, words, records
FROM batch b LEFT JOIN payload p ON p.seq = b.seq """

_words_of = msgspec.msgpack.Decoder(list[tuple[int, bytes]]).decode


class Totals(msgspec.Struct):
    """What is kept of the standing as one value."""

    place: Place
    ended: bool
    outcomes: dict[Outcome, int]
    twice: int
    last_seq: int
    accepted: int
    sent: int
    runs: int
    last_run: RunBegan | None
    spent: Spent
    spent_before: Spent
    loose: bytes


_totals_of = msgspec.json.Decoder(Totals).decode


@contextmanager
def sound(path: Path) -> Iterator[None]:
    """Whatever goes wrong in reading a journal is a `JournalError` that names it and says what to do.

    `JournalBusy` where another process kept us waiting for too long, as happens on a network file system.
    """
    try:
        yield
    except sqlite3.OperationalError as error:
        raise _busy(path) if is_busy(error) else _unusable(path, error) from None
    except (sqlite3.Error, msgspec.MsgspecError, ValueError, KeyError, TypeError, IndexError) as error:
        raise _unusable(path, error) from None


def _busy(path: Path) -> JournalBusy:
    return JournalBusy(
        f"the journal {path} is being written or read by another process just now, and did not become free in time; "
        "ask again, and see that no process keeps it for long"
    )


def _unusable(path: Path, error: Exception) -> JournalError:
    return JournalError(
        f"the journal {path} cannot be used: {error}; it is left as it is: see to the rights on it and to free "
        "space, or take a copy of it from before it was damaged"
    )


def scribe_of(db: sqlite3.Connection) -> Scribe:
    """Who goes on writing this journal."""
    batches: dict[int, OpenBatch] = {}
    waiting: dict[int, SaidOf] = {}
    for line in db.execute(BATCH + "WHERE owes > 0"):
        batch, said = batch_of(line)
        batches[batch.seq] = batch
        if said:
            waiting[batch.seq] = said
    roots = {batch.root for batch in batches.values() if batch.root is not None} - batches.keys()
    for root in roots:
        batches |= {batch.seq: batch for batch, _ in map(batch_of, db.execute(BATCH + "WHERE b.seq = ?", (root,)))}
    paid = {batch.seq for batch in batches.values() if batch.payload is not None}
    return Scribe(_standing(db, batches), _words(db), waiting, paid)


def batch_of(line: Iterable[Any]) -> tuple[OpenBatch, SaidOf]:
    """The batch of a line of `BATCH`, and what was said of those of its rows that are closed."""
    (
        seq, parent, root, via, row, lines, offset, row0, last, rows,
        state, tries, sends, doubts, resent, let_go, batch_id, accepted_at, reason, field,
        left_out, owes, closed, words, payload,
    ) = line  # fmt: skip
    planned = range(row0, last + 1) if rows is None else unpacked(rows)
    batch = OpenBatch(
        seq,
        planned,
        Place(row, lines, offset),
        set(unpacked(closed or b"")) if owes else set(planned),
        frozenset(unpacked(left_out or b"")),
        parent,
        root,
        via,
        State(state),
        batch_id,
        accepted_at,
        bool(let_go),
        reason,
        field,
        payload,
        tries=tries,
        sends=sends,
        doubts=doubts,
        resent=bool(resent),
    )
    return batch, [(number, unpacked(packed)) for number, packed in _words_of(words)] if words else []


def _standing(db: sqlite3.Connection, batches: dict[int, OpenBatch]) -> Standing:
    begun, salt, totals = db.execute("SELECT begun, salt, totals FROM campaign").fetchone()
    notes = {name: json.loads(value) for name, value in db.execute("SELECT name, value FROM note")}
    if totals is None:
        return Standing(begun=_begun(begun, salt), batches=batches, notes=notes)
    read = _totals_of(totals)
    return Standing(
        begun=_begun(begun, salt),
        place=read.place,
        ended=read.ended,
        outcomes=Counter(read.outcomes),
        twice=read.twice,
        batches=batches,
        last_seq=read.last_seq,
        accepted=read.accepted,
        sent=read.sent,
        runs=read.runs,
        last_run=read.last_run,
        spent=read.spent,
        spent_before=read.spent_before,
        notes=notes,
        loose=set(unpacked(read.loose)),
    )


def _begun(text: str | None, salt: bytes | None) -> Begun | None:
    if text is None:
        return None
    fields = json.loads(text)
    note = fields.pop("source")
    return Begun(**fields, source=None if note is None else SourceNote(**note), salt=salt or b"")


def _words(db: sqlite3.Connection) -> Words:
    last = db.execute("SELECT coalesce(max(id), 0) FROM said").fetchone()[0]
    lines = db.execute("SELECT id, outcome, reason, field, attempts, twice FROM said LIMIT ?", (WORDS_MAX,))
    known = {(outcome, reason, field, attempts, bool(twice)): n for n, outcome, reason, field, attempts, twice in lines}
    return Words(known, last)
