"""The book of events: what is done to it, each act a function on an open SQLite connection within a transaction.

One row for each event, so "have we seen it" and "is it to be handled" cannot disagree: the insert that finds the id
free is the insert into the queue. A row goes this way:

    (insert) -> WAITING -> BEGUN -> HANDLED -> (forgotten after a week)
                   ^         |
                   |         +-> LATER (failed; its time comes) -> WAITING
                   |         +-> PARKED (failed for the last time) -> WAITING by `release`
                   +---------+   the process died: counted as possibly twice

BEGUN is written before the handler is called, with one more attempt, so that the worker can see an event that kills the
process each time and park it. With the mark HANDLED the body goes: what is kept is an id and an hour, no phone number.

Events of one business number form a lane, and a lane is handled in the order of `created`, one at a time. Lanes take
turns. A failed event does not hold up its lane.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection
from datetime import UTC, datetime

import attrs

from truecaller_async.webhooks.options import ParkedEvent, WebhookStats

WAITING, CLAIMED, RETRY_LATER, HANDLED, PARKED = range(5)

VERSION = 1
SCHEMA = """
CREATE TABLE IF NOT EXISTS event(
    seq INTEGER PRIMARY KEY, event_id TEXT NOT NULL UNIQUE, lane TEXT NOT NULL, created REAL NOT NULL,
    received REAL NOT NULL, state INTEGER NOT NULL, attempts INTEGER NOT NULL DEFAULT 0, due REAL, fault TEXT,
    body BLOB);
CREATE INDEX IF NOT EXISTS event_waiting ON event(lane, created, seq) WHERE state = 0;
CREATE INDEX IF NOT EXISTS event_begun ON event(seq) WHERE state = 1;
CREATE INDEX IF NOT EXISTS event_later ON event(due) WHERE state = 2;
CREATE INDEX IF NOT EXISTS event_handled ON event(received) WHERE state = 3;
CREATE INDEX IF NOT EXISTS event_parked ON event(seq) WHERE state = 4;
CREATE TABLE IF NOT EXISTS counter(name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
"""

DELETE_MAX_ROWS = 5_000
"""Rows that one transaction forgets, so that an answer never waits for a large one."""

PARKED_LIST_MAX = 1_000


NO_NUMBER_LANE = "-"
"""The lane of events without a business number. A lane is never the empty text: that is where the round begins."""


@attrs.frozen
class NewEvent:
    """An event to write down. Instants are seconds since the epoch."""

    event_id: str
    lane: str
    created: float
    received: float
    body: bytes = attrs.field(repr=False)


@attrs.frozen
class ClaimedEvent:
    """An event to handle, and how often that was begun, this time included."""

    seq: int
    lane: str
    received: float
    attempts: int
    body: bytes = attrs.field(repr=False)


@attrs.frozen
class HandlerResult:
    """How a handling ended: well, or with a `fault`; then `due` is when to try again, None for never."""

    fault: str | None = None
    due: float | None = None


def insert(db: sqlite3.Connection, event: NewEvent) -> bool:
    """Write the event down. False where it is there already."""
    done = db.execute(
        "INSERT OR IGNORE INTO event(event_id, lane, created, received, state, body) VALUES (?, ?, ?, ?, ?, ?)",
        (event.event_id, event.lane, event.created, event.received, WAITING, event.body),
    )
    _add_to_counter(db, "received")
    if not done.rowcount:
        _add_to_counter(db, "duplicates")
    return bool(done.rowcount)


def requeue_interrupted(db: sqlite3.Connection) -> int:
    """What a process that died had begun waits again. How many that are."""
    found = db.execute("UPDATE event SET state = ? WHERE state = 1", (WAITING,)).rowcount
    _add_to_counter(db, "possibly_twice", found)
    return found


def requeue_due(db: sqlite3.Connection, now: float, latest: float) -> None:
    """Failed events whose time has come wait again; so do those due after `latest`, for the clock was set back."""
    db.execute(
        "UPDATE event SET state = ?, due = NULL WHERE state = 2 AND (due <= ? OR due > ?)", (WAITING, now, latest)
    )


def claim(db: sqlite3.Connection, after: str, busy: Collection[str], limit: int) -> list[ClaimedEvent]:
    """The next event of each of up to `most` lanes that are not busy, from the lane behind `after` round to it."""
    lanes = [lane for lane in _waiting_lanes(db, after, len(busy) + limit) if lane not in busy]
    return [work for lane in lanes[:limit] if (work := _claim_next(db, lane)) is not None]


def record_result(
    db: sqlite3.Connection, event: ClaimedEvent, result: HandlerResult, *, claim_next: bool
) -> ClaimedEvent | None:
    """Write down how it ended. To `go_on` is to begin the next event of the lane, if there is one."""
    if result.fault is None:
        db.execute("UPDATE event SET state = ?, body = NULL, fault = NULL WHERE seq = ?", (HANDLED, event.seq))
        _add_to_counter(db, "handled")
    else:
        state = PARKED if result.due is None else RETRY_LATER
        db.execute(
            "UPDATE event SET state = ?, due = ?, fault = ? WHERE seq = ?", (state, result.due, result.fault, event.seq)
        )
        _add_to_counter(db, "failed")
    return _claim_next(db, event.lane) if claim_next else None


def next_due(db: sqlite3.Connection) -> float | None:
    """When the next failed event is to be tried again."""
    due: float | None = db.execute("SELECT MIN(due) FROM event WHERE state = 2").fetchone()[0]
    return due


def delete_old(db: sqlite3.Connection, before: float, keep: int) -> int:
    """Forget handled events that came before this instant, and all but the newest `keep`. How many were forgotten.

    One bound and no OR, so that the index ends the search and not the last of a million rows.
    """
    floor = db.execute(
        "SELECT received FROM event WHERE state = 3 ORDER BY received DESC LIMIT 1 OFFSET ?", (keep,)
    ).fetchone()
    done = db.execute(
        "DELETE FROM event WHERE seq IN (SELECT seq FROM event WHERE state = 3 AND received <= ?"
        " ORDER BY received LIMIT ?)",
        (max(before, floor[0]) if floor else before, DELETE_MAX_ROWS),
    )
    return done.rowcount


def parked(db: sqlite3.Connection) -> tuple[ParkedEvent, ...]:
    """The events that were given up, oldest first, up to 1,000."""
    rows = db.execute(
        "SELECT event_id, received, attempts, fault, body FROM event WHERE state = 4 ORDER BY seq LIMIT ?",
        (PARKED_LIST_MAX,),
    )
    return tuple(ParkedEvent(row[0], datetime.fromtimestamp(row[1], UTC), *row[2:]) for row in rows)


def release(db: sqlite3.Connection, event_id: str | None, now: float) -> int:
    """This parked event, or all of them, wait again as if they had just come. How many that are."""
    one = "" if event_id is None else " AND event_id = ?"
    done = db.execute(
        f"UPDATE event SET state = ?, attempts = 0, received = ? WHERE state = 4{one}",  # noqa: S608 - our own text
        (WAITING, now) if event_id is None else (WAITING, now, event_id),
    )
    return done.rowcount


def stats(db: sqlite3.Connection) -> WebhookStats:
    """All counts."""
    counted = dict(db.execute("SELECT name, value FROM counter").fetchall())
    standing = {
        "waiting": sum(_count_in_state(db, state) for state in (WAITING, CLAIMED, RETRY_LATER)),
        "parked": _count_in_state(db, PARKED),
    }
    return WebhookStats(**counted, **standing)


def _count_in_state(db: sqlite3.Connection, state: int) -> int:
    # The state is written out: a parameter would keep SQLite from using the partial index.
    number: int = db.execute(f"SELECT COUNT(*) FROM event WHERE state = {state:d}").fetchone()[0]  # noqa: S608
    return number


def _waiting_lanes(db: sqlite3.Connection, after: str, limit: int) -> list[str]:
    """Up to so many lanes in which something waits, in turn. Each is one step in the index, however long the lane."""
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
        "SELECT seq, received, attempts, body FROM event WHERE state = 0 AND lane = ? ORDER BY created, seq LIMIT 1",
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
