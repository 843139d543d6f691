"""Store nonces in one SQLite file, for the worker processes of one machine.

The callback may reach one worker and the browser another.

Invariants:
    - The file is readable by its owner only (`private_file`): between a callback and the poll it contains an access
      token. Other users may not write to its folder either, because SQLite trusts a journal file next to the database.
    - Used and expired nonces are deleted and overwritten. Nonces and sessions are stored as hashes.
    - A callback is looked up before the file is locked, so that many forged callbacks do not block valid ones.

`storage.sqlite_worker` owns the connection and its thread.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from truecaller_async.clock import Clock
from truecaller_async.errors import ConfigError
from truecaller_async.models import Secret
from truecaller_async.storage.private_file import PrivateFile
from truecaller_async.storage.sqlite_worker import SqliteWorker, check_version, connect, older_version_message
from truecaller_async.verification.callbacks import FlowInvoked, KnownCallback, ProfileReady, UserRejected
from truecaller_async.verification.nonces import (
    IssuedNonce,
    NonceRules,
    has_issued_form,
    is_accepted,
    new_nonce,
    session_hash,
)

T = TypeVar("T")

VERSION = 2
"""The version of the tables. A file of another version is rejected; version 1 was not marked in the file."""

CREATE_TABLE = """CREATE TABLE nonce(
    nonce BLOB PRIMARY KEY, session BLOB NOT NULL, created_at REAL NOT NULL, kind TEXT, token TEXT, detail TEXT)
    WITHOUT ROWID"""
CREATE_INDEX = "CREATE INDEX nonce_created_at ON nonce(created_at)"
NONCE_FILE = PrivateFile("nonce store", "access tokens", "another path")


class SqliteNonceStore:
    """A `NonceStore` for several processes. The file is opened by the first use.

    Args:
        path: The file. It is created if it does not exist.
        rules: Lifetime and number of nonces.
        clock: The wall clock.
    """

    def __init__(self, path: str | Path, rules: NonceRules | None = None, *, clock: Clock | None = None) -> None:
        self._path = Path(path)
        self._rules = rules or NonceRules()
        self._clock = clock or Clock()
        self._worker = SqliteWorker(
            "nonce store",
            lambda: _open(self._path),
            thread_name="truecaller-nonces",
            job_error=self._job_error,
        )

    async def issue(self, session: str) -> str:
        """Create a nonce, bound to this session.

        Raises:
            ValidationError: `session` is empty.
            ConfigError: The file cannot be used.
            ClientClosed: The store is closed, or was first used in another process.
        """
        owner, nonce, now = session_hash(session), new_nonce(), self._clock.wall()

        def work(db: sqlite3.Connection) -> None:
            db.execute("BEGIN IMMEDIATE")
            db.execute("DELETE FROM nonce WHERE created_at <= ?", (now - self._rules.lifetime,))
            (kept,) = db.execute("SELECT count(*) FROM nonce").fetchone()
            over = max(0, kept + 1 - self._rules.capacity)
            db.execute(
                "DELETE FROM nonce WHERE nonce IN (SELECT nonce FROM nonce ORDER BY created_at LIMIT ?)", (over,)
            )
            db.execute("INSERT INTO nonce(nonce, session, created_at) VALUES (?, ?, ?)", (_hashed(nonce), owner, now))

        await self._do(work)
        return nonce

    async def record(self, callback: KnownCallback) -> bool:
        """Store a callback and return whether it was accepted.

        Raises:
            ConfigError: The file cannot be used.
            ClientClosed: The store is closed, or was first used in another process.
        """
        nonce, now = callback.request_id, self._clock.wall()
        if not has_issued_form(nonce):
            return False

        def work(db: sqlite3.Connection) -> bool:
            if self._select(db, nonce, None, now) is None:
                return False
            db.execute("BEGIN IMMEDIATE")
            issued = self._select(db, nonce, None, now)
            if issued is None or not is_accepted(issued.callback, callback):
                return False
            db.execute(
                "UPDATE nonce SET kind = ?, token = ?, detail = ? WHERE nonce = ?", (*_row(callback), _hashed(nonce))
            )
            return True

        return await self._do(work)

    async def find(self, nonce: str, session: str) -> IssuedNonce | None:
        """Return the state of a nonce; None if it is not valid for this session.

        Raises:
            ValidationError: `session` is empty.
            ConfigError: The file cannot be used.
            ClientClosed: The store is closed, or was first used in another process.
        """
        owner, now = session_hash(session), self._clock.wall()
        return await self._do(lambda db: self._select(db, nonce, owner, now)) if has_issued_form(nonce) else None

    async def consume(self, nonce: str, session: str) -> IssuedNonce | None:
        """Return the state of a nonce as `find` does, and delete the nonce.

        Raises:
            ValidationError: `session` is empty.
            ConfigError: The file cannot be used.
            ClientClosed: The store is closed, or was first used in another process.
        """
        owner, now = session_hash(session), self._clock.wall()

        def work(db: sqlite3.Connection) -> IssuedNonce | None:
            db.execute("BEGIN IMMEDIATE")
            issued = self._select(db, nonce, owner, now)
            if issued is not None:
                db.execute("DELETE FROM nonce WHERE nonce = ?", (_hashed(nonce),))
            return issued

        return await self._do(work) if has_issued_form(nonce) else None

    async def aclose(self) -> None:
        """Close the file. May be called twice. Does nothing in a forked child. Raises nothing."""
        await self._worker.aclose()

    def _select(self, db: sqlite3.Connection, nonce: str, owner: bytes | None, now: float) -> IssuedNonce | None:
        found = db.execute(
            "SELECT kind, token, detail FROM nonce WHERE nonce = ? AND session = ifnull(?, session)"
            " AND created_at > ? AND created_at <= ?",
            (_hashed(nonce), owner, now - self._rules.lifetime, now),
        ).fetchone()
        return None if found is None else IssuedNonce(_callback(nonce, *found))

    async def _do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        # Not `write`: it would lock the file for every forged callback. Each job locks the file when it has to write.
        return await self._worker.run(work)

    def _job_error(self, error: BaseException) -> BaseException:
        return _unusable(self._path, error) if isinstance(error, sqlite3.Error) else error


def _hashed(nonce: str) -> bytes:
    return hashlib.sha256(nonce.encode()).digest()


def _row(callback: KnownCallback) -> tuple[str, str | None, str | None]:
    match callback:
        case ProfileReady():
            return "ready", callback.access_token.reveal(), callback.endpoint.encode("utf-8", "replace").decode()
        case UserRejected():
            return "rejected", None, callback.status
        case FlowInvoked():
            return "invoked", None, None


def _callback(nonce: str, kind: str | None, token: str | None, detail: str | None) -> KnownCallback | None:
    if kind is None:
        return None
    if kind == "ready":
        return ProfileReady(nonce, Secret(token or ""), detail or "")
    return UserRejected(nonce, detail or "") if kind == "rejected" else FlowInvoked(nonce)


def _open(path: Path) -> sqlite3.Connection:
    NONCE_FILE.make(path)
    _check_folder(path)
    try:
        return connect(path, lambda db: _prepare(db, path))
    except sqlite3.Error as error:
        raise _unusable(path, error) from None


def _prepare(db: sqlite3.Connection, path: Path) -> None:
    db.execute("PRAGMA secure_delete=ON")  # and no WAL, which would keep a used token in a second file
    name = f"{NONCE_FILE.name} {path}"
    if check_version(db, name, VERSION):
        return
    with db:
        # Under the write lock: another process may create the tables at the same moment.
        db.execute("BEGIN IMMEDIATE")
        if check_version(db, name, VERSION):
            return
        if db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            raise ConfigError(older_version_message(name, 1, VERSION))
        db.execute(CREATE_TABLE)
        db.execute(CREATE_INDEX)
        db.execute(f"PRAGMA user_version={VERSION}")


def _unusable(path: Path, error: sqlite3.Error) -> ConfigError:
    return ConfigError(f"the nonce store {path} cannot be used: {error}. Use another path")


def _check_folder(path: Path) -> None:
    if os.name == "posix" and path.absolute().parent.stat().st_mode & stat.S_IWOTH:
        raise ConfigError(
            f"the {NONCE_FILE.name} {path} is in a folder that every user may write to: another user could put a "
            "SQLite journal next to it. Use a path in a private folder"
        )
