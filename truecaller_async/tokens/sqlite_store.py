"""Store tokens and the ledger of mints in one SQLite file, for all processes of one machine.

Purpose:
    A crash loop must not use up the mint budget (10 tokens in 30 minutes). So live tokens and the ledger are on disk.
Algorithm:
    - A token belongs to one open store at a time, because each client counts the limits for itself: two of them with
      one token would both send at the full rate. A store that is closed releases its tokens. Tokens of a process that
      died are adopted by the next store that asks.
    - A write is a job of `storage.sqlite_worker` in a `BEGIN IMMEDIATE` transaction, possibly together with other jobs.
      So no other process can write between the reading of the ledger and the claim. `snapshot` only reads, on a
      connection of its own.
Invariants:
    - The file has mode 0600. Folders that are created for it have mode 0700. The file is refused if it is a link,
      belongs to another user, or others can read it. It contains no API key.
Failure modes:
    - The wall clock is set back: as in `memory_store`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from truecaller_async.errors import ConfigError
from truecaller_async.models import Secret, Token
from truecaller_async.models.tokens import SentRequest, StoredToken, StoreSnapshot, User
from truecaller_async.storage.private_file import PrivateFile
from truecaller_async.storage.sqlite_worker import SqliteWorker, check_version, connect, open_database
from truecaller_async.tokens.memory_store import OUT_OF_ORDER_SECONDS, effective_mint_time, wait_for_budget

STATE_FILE = PrivateFile("state file", "access tokens", "state=")
T = TypeVar("T")

_open_owners: set[str] = set()
"""The owners of the open stores of this process. The pid is not enough: in a container each run can have the same."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS token(
    account TEXT NOT NULL, token_id TEXT NOT NULL, token TEXT NOT NULL, created_at REAL NOT NULL,
    expires_at REAL NOT NULL, owner TEXT, idle_since REAL, PRIMARY KEY(account, token_id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS mint(account TEXT NOT NULL, claimed_at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS sent_request(
    account TEXT NOT NULL, token_id TEXT NOT NULL, rule TEXT NOT NULL, sent_at REAL NOT NULL,
    number INTEGER, counts_at REAL);
CREATE INDEX IF NOT EXISTS mint_time ON mint(account, claimed_at);
CREATE INDEX IF NOT EXISTS sent_request_time ON sent_request(account, token_id, sent_at);
"""
VERSION = 3
"""The version of the tables."""

UPGRADES = {
    2: """
ALTER TABLE sent_request ADD COLUMN number INTEGER;
ALTER TABLE sent_request ADD COLUMN counts_at REAL;
UPDATE sent_request SET counts_at = sent_at;
"""
}
"""SQL that turns the tables of an older version into those of the next one. A file without it is refused."""

RETENTION_SECONDS = 24 * 3600.0
"""How long mints and sent requests are kept. Limits have shorter windows."""


class SqliteTokenStore:
    """The `TokenStore` of `state="sqlite:///path"`.

    Args:
        path: The file.
        account: The account whose tokens it uses: a hash of base URL, account id and key id.
    """

    def __init__(self, path: Path, account: str) -> None:
        self._path = path
        self._account = account
        self._owner = ""
        self._ends: list[tuple[SentRequest, float | None]] = []
        self._worker = SqliteWorker(
            "client", lambda: _open(path), thread_name="truecaller-state", job_error=self._job_error
        )

    async def adopt(self, now: float) -> Sequence[Token]:
        """Adopt the live tokens that no other open store uses. See `TokenStore.adopt`."""

        def transaction(db: sqlite3.Connection) -> Sequence[Token]:
            db.execute("DELETE FROM token WHERE account = ? AND expires_at <= ?", (self._account, now))
            rows = db.execute(
                "SELECT token_id, token, created_at, expires_at, idle_since, owner FROM token WHERE account = ?",
                (self._account,),
            ).fetchall()
            free = [row for row in rows if row[5] in (None, self._owner) or not _alive(row[5])]
            for row in free:
                db.execute(
                    "UPDATE token SET owner = ?, idle_since = NULL WHERE account = ? AND token_id = ?",
                    (self._owner, self._account, row[0]),
                )
            return [Token(row[0], Secret(row[1]), row[2], row[3], row[4]) for row in free]

        return await self._start(transaction)

    async def add(self, token: Token) -> None:
        """Store a new token of this process."""

        def transaction(db: sqlite3.Connection) -> None:
            db.execute(
                "INSERT OR REPLACE INTO token(account, token_id, token, created_at, expires_at, owner)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (self._account, token.token_id, token.secret.reveal(), token.created_at, token.expires_at, self._owner),
            )

        await self._start(transaction)

    async def discard(self, token_id: str) -> None:
        """Delete a token and its sent requests."""

        def transaction(db: sqlite3.Connection) -> None:
            db.execute("DELETE FROM token WHERE account = ? AND token_id = ?", (self._account, token_id))
            db.execute("DELETE FROM sent_request WHERE account = ? AND token_id = ?", (self._account, token_id))

        await self._start(transaction)

    async def claim_mint(self, limit: int, per: float, now: float) -> float:
        """Claim one mint. See `TokenStore.claim_mint`."""

        def transaction(db: sqlite3.Connection) -> float:
            db.execute("DELETE FROM mint WHERE claimed_at < ?", (now - max(per, RETENTION_SECONDS),))
            db.execute(
                "UPDATE mint SET claimed_at = ? WHERE account = ? AND claimed_at > ?",
                (now, self._account, now + OUT_OF_ORDER_SECONDS),
            )
            recent = [
                float(row[0])
                for row in db.execute(
                    "SELECT claimed_at FROM mint WHERE account = ? AND claimed_at > ? ORDER BY claimed_at",
                    (self._account, now - per),
                )
            ]
            if len(recent) < limit:
                db.execute("INSERT INTO mint(account, claimed_at) VALUES (?, ?)", (self._account, now))
                return 0.0
            return wait_for_budget(recent, limit, per, now)

        return await self._start(transaction)

    async def refund_mint(self, claimed_at: float) -> None:
        """Delete the mint claimed at `claimed_at`."""
        await self._start(
            lambda db: db.execute(
                "DELETE FROM mint WHERE rowid = (SELECT rowid FROM mint WHERE account = ? AND claimed_at = ? LIMIT 1)",
                (self._account, claimed_at),
            )
        )

    def record_sent_request(self, request: SentRequest) -> asyncio.Future[None]:
        """Begin to store that a request is sent, together with the ends of earlier ones."""
        ends, self._ends = self._ends, []

        def transaction(db: sqlite3.Connection) -> None:
            self._write_ends(db, ends)
            db.executemany(
                "INSERT INTO sent_request(account, token_id, rule, sent_at, number) VALUES (?, ?, ?, ?, ?)",
                [(self._account, request.token_id, rule, request.sent_at, request.number) for rule in request.rules],
            )

        return self._start(transaction)

    def record_request_end(self, request: SentRequest, counts_at: float | None) -> None:
        """Keep the end in memory until the next write. See `TokenStore.record_request_end`."""
        self._ends.append((request, counts_at))

    async def sent_requests(self, token_id: str, since: float, now: float) -> Mapping[str, Sequence[float]]:
        """See `TokenStore.sent_requests`. Deletes entries that are 24 h older than `since`."""

        def transaction(db: sqlite3.Connection) -> Mapping[str, Sequence[float]]:
            db.execute(
                "DELETE FROM sent_request WHERE account = ? AND sent_at < ?", (self._account, since - RETENTION_SECONDS)
            )
            db.execute(
                "UPDATE sent_request SET counts_at = ? WHERE account = ? AND token_id = ? AND counts_at IS NULL",
                (now, self._account, token_id),
            )
            found: defaultdict[str, list[float]] = defaultdict(list)
            for rule, at in db.execute(
                "SELECT rule, counts_at FROM sent_request WHERE account = ? AND token_id = ? AND counts_at > ?"
                " ORDER BY counts_at",
                (self._account, token_id, since),
            ):
                found[rule].append(at)
            return found

        return await self._start(transaction)

    async def snapshot(self, now: float, since: float) -> StoreSnapshot:
        """Return the live tokens and the mints after `since`. Empty if there is no file.

        It uses a connection of its own that cannot write, and does not become the owner of a token.
        """
        self._worker.check()
        if not self._worker.is_started:
            return await asyncio.to_thread(self._read_snapshot, now, since)
        # In the worker's thread: unlike `to_thread`, it can still be used while the program ends.
        return await self._worker.run_without_connection(lambda: self._read_snapshot(now, since))

    async def release_all(self, idle_since: float | None) -> None:
        """See `TokenStore.release_all`. Does nothing in a forked child."""
        if self._worker.is_inherited:
            return
        ends, self._ends = self._ends, []

        def transaction(db: sqlite3.Connection) -> None:
            self._write_ends(db, ends)
            db.execute(
                "UPDATE token SET owner = NULL, idle_since = ? WHERE account = ? AND owner = ?",
                (idle_since, self._account, self._owner),
            )

        await self._start(transaction)

    async def aclose(self) -> None:
        """Close the file. Does nothing in a forked child: the connection belongs to the parent process."""
        if not self._worker.is_inherited:
            if self._ends and not self._worker.is_closed:
                ends, self._ends = self._ends, []
                with contextlib.suppress(ConfigError):  # the requests count at the next adoption then
                    await self._start(lambda db: self._write_ends(db, ends))
            _open_owners.discard(self._owner)
        await self._worker.aclose()

    def _write_ends(self, db: sqlite3.Connection, ends: Sequence[tuple[SentRequest, float | None]]) -> None:
        for request, counts_at in ends:
            key = (self._account, request.token_id, request.sent_at, request.number)
            if counts_at is None:
                db.execute(
                    "DELETE FROM sent_request WHERE account = ? AND token_id = ? AND sent_at = ? AND number = ?", key
                )
            else:
                db.execute(
                    "UPDATE sent_request SET counts_at = ?"
                    " WHERE account = ? AND token_id = ? AND sent_at = ? AND number = ?",
                    (counts_at, *key),
                )

    def _start(self, transaction: Callable[[sqlite3.Connection], T]) -> asyncio.Future[T]:
        self._worker.check()
        if not self._owner:
            # Not in __init__: the store may have been made before a fork, and the owner is a process.
            self._owner = f"{os.getpid()}:{os.urandom(8).hex()}"
            _open_owners.add(self._owner)
        return self._worker.write(transaction)

    def _job_error(self, error: BaseException) -> BaseException:
        return _unusable(self._path, error) if isinstance(error, sqlite3.Error) else error

    def _read_snapshot(self, now: float, since: float) -> StoreSnapshot:
        if not STATE_FILE.is_there(self._path):
            return StoreSnapshot()
        try:
            with contextlib.closing(_open_read_only(self._path)) as db:
                # The snapshot reads only tables and columns that did not change with an upgrade.
                version = check_version(db, f"{STATE_FILE.name} {self._path}", VERSION, upgradable=UPGRADES)
                return self._snapshot(db, now, since) if version else StoreSnapshot()
        except sqlite3.Error as error:
            raise _unusable(self._path, error) from None

    def _snapshot(self, db: sqlite3.Connection, now: float, since: float) -> StoreSnapshot:
        db.execute("BEGIN")
        tokens = db.execute(
            "SELECT token_id, created_at, expires_at, owner FROM token WHERE account = ? AND expires_at > ?"
            " ORDER BY created_at",
            (self._account, now),
        ).fetchall()
        mints = db.execute(
            "SELECT claimed_at FROM mint WHERE account = ? AND claimed_at > ? ORDER BY claimed_at",
            (self._account, since),
        ).fetchall()
        return StoreSnapshot(
            tuple(StoredToken(row[0], row[1], row[2], self._used_by(row[3])) for row in tokens),
            tuple(effective_mint_time(row[0], now) for row in mints),
        )

    def _used_by(self, owner: str | None) -> User:
        if owner is None:
            return "none"
        if owner == self._owner:
            return "this"
        return "other" if _alive(owner) else "none"


def _unusable(path: Path, error: sqlite3.Error) -> ConfigError:
    return ConfigError(
        f"the state file {path} cannot be used: {error}. Move it away, or name another file with state=."
    )


def _open_read_only(path: Path) -> sqlite3.Connection:
    # Not the read-only mode of SQLite: it leaves the side files (-wal, -shm) behind.
    return connect(f"{path.absolute().as_uri()}?mode=rw", lambda db: db.execute("PRAGMA query_only=ON"), uri=True)


def _open(path: Path) -> sqlite3.Connection:
    STATE_FILE.make(path)
    try:
        return open_database(path, STATE_FILE.name, schema=SCHEMA, version=VERSION, upgrades=UPGRADES, power_safe=False)
    except sqlite3.Error as error:
        raise _unusable(path, error) from None


def _alive(owner: str) -> bool:
    pid = int(owner.partition(":")[0])
    if pid == os.getpid():
        return owner in _open_owners
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
