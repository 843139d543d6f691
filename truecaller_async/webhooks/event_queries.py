"""SQL of the event table. Each function runs inside a transaction on an open connection.

There is one row per event: the insert that detects a duplicate id is also the insert into the queue, so both cannot
disagree.

Algorithm:
    States of a row:
    (insert) -> WAITING -> CLAIMED -> HANDLED -> (deleted after a week)
                   ^          |
                   |          +-> RETRY_LATER (handler failed; `retry_at` is set) -> WAITING
                   |          +-> PARKED (failed for the last time) -> WAITING by `release`
                   +----------+   the process died: counted in `possibly_duplicated`
Invariants:
    - CLAIMED is written, and the attempt counted, before the handler is called. So the worker can detect an event that
      kills the process each time, and park it.
    - HANDLED deletes the body: the row keeps an id and a time, but no phone number.
    - Events of one business number form a lane. A lane is handled in the order of `created_at`, one event at a time.
      Lanes are served in rotation. A failed event does not delay its lane.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection
from datetime import UTC, datetime

import attrs

from truecaller_async.webhooks.options import ParkedEvent, WebhookStats

WAITING, CLAIMED, RETRY_LATER, HANDLED, PARKED = range(5)

VERSION = 2
"""Version of the schema. A file of another version is rejected."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS event(
    seq INTEGER PRIMARY KEY, event_id TEXT NOT NULL UNIQUE, lane TEXT NOT NULL, created_at REAL NOT NULL,
    received_at REAL NOT NULL, state INTEGER NOT NULL, attempts INTEGER NOT NULL DEFAULT 0, retry_at REAL, error TEXT,
    body BLOB);
CREATE INDEX IF NOT EXISTS event_waiting ON event(lane, created_at, seq) WHERE state = 0;
CREATE INDEX IF NOT EXISTS event_claimed ON event(seq) WHERE state = 1;
CREATE INDEX IF NOT EXISTS event_retry ON event(retry_at) WHERE state = 2;
CREATE INDEX IF NOT EXISTS event_handled ON event(received_at) WHERE state = 3;
CREATE INDEX IF NOT EXISTS event_parked ON event(seq) WHERE state = 4;
CREATE TABLE IF NOT EXISTS counter(name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
"""

DELETE_MAX_ROWS = 5_000
"""Rows that one transaction deletes, so that no request waits for a long transaction."""

PARKED_LIST_MAX = 1_000
"""Parked events that are listed."""


NO_NUMBER_LANE = "-"
"""Lane of events without a business number. It is not the empty text, which is before the first lane."""


@attrs.frozen
class NewEvent:
    """Event to insert. Times are seconds since the epoch."""

    event_id: str
    """Id of the event."""
    lane: str
    """Business number, or `NO_NUMBER_LANE`."""
    created_at: float
    """Time at which Truecaller created it."""
    received_at: float
    """Time at which it was received."""
    body: bytes = attrs.field(repr=False)
    """Body as sent."""


@attrs.frozen
class ClaimedEvent:
    """Event that was claimed for handling."""

    seq: int
    """Primary key of the row."""
    lane: str
    """Lane of the event."""
    received_at: float
    """Time at which it was received, in seconds since the epoch."""
    attempts: int
    """Number of attempts, including this one."""
    body: bytes = attrs.field(repr=False)
    """Body as sent."""


@attrs.frozen
class HandlerResult:
    """Result of one handler call."""

    error: str | None = None
    """Text of the failure; None after success."""
    retry_at: float | None = None
    """Time of the next attempt in seconds since the epoch; None if there is none."""


def insert(db: sqlite3.Connection, event: NewEvent) -> bool:
    """Insert an event; return False if its id is already stored."""
    done = db.execute(
        "INSERT OR IGNORE INTO event(event_id, lane, created_at, received_at, state, body) VALUES (?, ?, ?, ?, ?, ?)",
        (event.event_id, event.lane, event.created_at, event.received_at, WAITING, event.body),
    )
    _add_to_counter(db, "received")
    if not done.rowcount:
        _add_to_counter(db, "duplicates")
    return bool(done.rowcount)


def requeue_interrupted(db: sqlite3.Connection) -> int:
    """Requeue events that a dead process had claimed; return their number."""
    found = db.execute("UPDATE event SET state = ? WHERE state = 1", (WAITING,)).rowcount
    _add_to_counter(db, "possibly_duplicated", found)
    return found


def requeue_due(db: sqlite3.Connection, now: float, latest: float) -> None:
    """Requeue failed events that are due.

    Events due after `latest` are requeued too: such a time exists only if the clock was set back.
    """
    db.execute(
        "UPDATE event SET state = ?, retry_at = NULL WHERE state = 2 AND (retry_at <= ? OR retry_at > ?)",
        (WAITING, now, latest),
    )


def claim(db: sqlite3.Connection, after: str, busy: Collection[str], limit: int) -> list[ClaimedEvent]:
    """Claim the next event of each of up to `limit` lanes.

    Lanes that are in `busy` are skipped. The search starts after the lane `after` and wraps around.
    """
    lanes = [lane for lane in _waiting_lanes(db, after, len(busy) + limit) if lane not in busy]
    return [claimed for lane in lanes[:limit] if (claimed := _claim_next(db, lane)) is not None]


def record_result(
    db: sqlite3.Connection, event: ClaimedEvent, result: HandlerResult, *, claim_next: bool
) -> ClaimedEvent | None:
    """Store the result of a handler call; with `claim_next`, claim the next event of the lane."""
    if result.error is None:
        db.execute("UPDATE event SET state = ?, body = NULL, error = NULL WHERE seq = ?", (HANDLED, event.seq))
        _add_to_counter(db, "handled")
    else:
        state = PARKED if result.retry_at is None else RETRY_LATER
        db.execute(
            "UPDATE event SET state = ?, retry_at = ?, error = ? WHERE seq = ?",
            (state, result.retry_at, result.error, event.seq),
        )
        _add_to_counter(db, "failed")
    return _claim_next(db, event.lane) if claim_next else None


def next_due(db: sqlite3.Connection) -> float | None:
    """Return the earliest time at which a failed event is due."""
    due: float | None = db.execute("SELECT MIN(retry_at) FROM event WHERE state = 2").fetchone()[0]
    return due


def delete_old(db: sqlite3.Connection, before: float, keep: int) -> int:
    """Delete handled events received before this time, and all but the newest `keep`.

    Returns:
        The number of deleted rows, at most `DELETE_MAX_ROWS`.
    """
    # One bound without OR, so that the index limits the search to the deleted rows.
    oldest_kept = db.execute(
        "SELECT received_at FROM event WHERE state = 3 ORDER BY received_at DESC LIMIT 1 OFFSET ?", (keep,)
    ).fetchone()
    done = db.execute(
        "DELETE FROM event WHERE seq IN (SELECT seq FROM event WHERE state = 3 AND received_at <= ?"
        " ORDER BY received_at LIMIT ?)",
        (max(before, oldest_kept[0]) if oldest_kept else before, DELETE_MAX_ROWS),
    )
    return done.rowcount


def parked(db: sqlite3.Connection) -> tuple[ParkedEvent, ...]:
    """Return the parked events, oldest first, at most `PARKED_LIST_MAX`."""
    rows = db.execute(
        "SELECT event_id, received_at, attempts, error, body FROM event WHERE state = 4 ORDER BY seq LIMIT ?",
        (PARKED_LIST_MAX,),
    )
    return tuple(ParkedEvent(row[0], datetime.fromtimestamp(row[1], UTC), *row[2:]) for row in rows)


def release(db: sqlite3.Connection, event_id: str | None, now: float) -> int:
    """Requeue one parked event, or all, as if received now; return their number."""
    one = "" if event_id is None else " AND event_id = ?"
    done = db.execute(
        f"UPDATE event SET state = ?, attempts = 0, received_at = ? WHERE state = 4{one}",  # noqa: S608 - a fixed text
        (WAITING, now) if event_id is None else (WAITING, now, event_id),
    )
    return done.rowcount


def stats(db: sqlite3.Connection) -> WebhookStats:
    """Return all counters."""
    counted = dict(db.execute("SELECT name, value FROM counter").fetchall())
    current = {
        "waiting": sum(_count_in_state(db, state) for state in (WAITING, CLAIMED, RETRY_LATER)),
        "parked": _count_in_state(db, PARKED),
    }
    return WebhookStats(**counted, **current)


def _count_in_state(db: sqlite3.Connection, state: int) -> int:
    # The state is a literal: with a parameter SQLite would not use the partial index.
    number: int = db.execute(f"SELECT COUNT(*) FROM event WHERE state = {state:d}").fetchone()[0]  # noqa: S608
    return number


def _waiting_lanes(db: sqlite3.Connection, after: str, limit: int) -> list[str]:
    """Return up to `limit` lanes with waiting events, in rotation; one index lookup per lane."""
    behind = _lanes_after(db, after, limit)
    around = _lanes_after(db, "", limit - len(behind))
    return behind + [lane for lane in around if lane <= after]


def _lanes_after(db: sqlite3.Connection, lane: str, limit: int) -> list[str]:
    found: list[str] = []
    while len(found) < limit:
        (lane,) = db.execute("SELECT MIN(lane) FROM event WHERE state = 0 AND lane > ?", (lane,)).fetchone()
        if lane is None:
            break
        found.append(lane)
    return found


def _claim_next(db: sqlite3.Connection, lane: str) -> ClaimedEvent | None:
    row = db.execute(
        "SELECT seq, received_at, attempts, body FROM event WHERE state = 0 AND lane = ?"
        " ORDER BY created_at, seq LIMIT 1",
        (lane,),
    ).fetchone()
    if row is None:
        return None
    db.execute("UPDATE event SET state = ?, attempts = attempts + 1 WHERE seq = ?", (CLAIMED, row[0]))
    return ClaimedEvent(row[0], lane, row[1], row[2] + 1, row[3])


def _add_to_counter(db: sqlite3.Connection, name: str, by: int = 1) -> None:
    db.execute(
        "INSERT INTO counter(name, value) VALUES (?, ?) ON CONFLICT(name) DO UPDATE SET value = value + excluded.value",
        (name, by),
    )
