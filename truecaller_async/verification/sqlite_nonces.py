"""Nonces in one SQLite file, for the workers of one machine: the callback reaches one, the browser asks another.

The file is ours alone (`private_file`): between a callback and its browser it holds an access token. Its folder must
not be everybody's either, because SQLite believes a journal that lies beside the file. What is used or old is deleted,
and overwritten. Nonces and sessions are kept as hashes.

`storage.sqlite_worker` owns the connection. A callback is looked up before anything is locked, so that a flood of
forged ones does not stand in the way of the good ones.
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
from truecaller_async.verification.nonces import Issued, Rules, counts, is_ours, new_nonce, session_hash

T = TypeVar("T")

VERSION = 2
"""The version of the tables. A file of another version is refused; version 1 was not marked in the file."""

CREATE_TABLE = """CREATE TABLE nonce(
    nonce BLOB PRIMARY KEY, session BLOB NOT NULL, created_at REAL NOT NULL, kind TEXT, token TEXT, detail TEXT)
    WITHOUT ROWID"""
CREATE_INDEX = "CREATE INDEX nonce_created_at ON nonce(created_at)"
NONCE_FILE = PrivateFile("file of nonces", "access tokens", "another path")


class SqliteNonceStore:
    """The `NonceStore` of several processes. `path` is the file, `clock` the wall clock.

    Opened by the first use. Its methods raise `ConfigError` where the file cannot be used, and `ClientClosed`.
    """

    def __init__(self, path: str | Path, rules: Rules | None = None, *, clock: Clock | None = None) -> None:
        self._path = Path(path)
        self._rules = rules or Rules()
        self._clock = clock or Clock()
        self._worker = SqliteWorker(
            "store of nonces",
            lambda: _open(self._path),
            thread_name="truecaller-nonces",
            job_error=self._job_error,
        )

    async def issue(self, session: str) -> str:
        """A new nonce, bound to this session. Raises `ValidationError` for an empty session, and as the class says."""
        owner, nonce, now = session_hash(session), new_nonce(), self._clock.wall()

        def work(db: sqlite3.Connection) -> None:
            db.execute("BEGIN IMMEDIATE")
            db.execute("DELETE FROM nonce WHERE created_at <= ?", (now - self._rules.fresh,))
            (kept,) = db.execute("SELECT count(*) FROM nonce").fetchone()
            over = max(0, kept + 1 - self._rules.capacity)
            db.execute(
                "DELETE FROM nonce WHERE nonce IN (SELECT nonce FROM nonce ORDER BY created_at LIMIT ?)", (over,)
            )
            db.execute("INSERT INTO nonce(nonce, session, created_at) VALUES (?, ?, ?)", (_hashed(nonce), owner, now))

        await self._do(work)
        return nonce

    async def record(self, callback: KnownCallback) -> bool:
        """Keep a callback; False, and nothing changed, where it does not count. Raises as the class says."""
        nonce, now = callback.request_id, self._clock.wall()
        if not is_ours(nonce):
            return False

        def work(db: sqlite3.Connection) -> bool:
            if self._heard(db, nonce, None, now) is None:
                return False
            db.execute("BEGIN IMMEDIATE")
            issued = self._heard(db, nonce, None, now)
            if issued is None or not counts(issued.heard, callback):
                return False
            db.execute(
                "UPDATE nonce SET kind = ?, token = ?, detail = ? WHERE nonce = ?", (*_row(callback), _hashed(nonce))
            )
            return True

        return await self._do(work)

    async def find(self, nonce: str, session: str) -> Issued | None:
        """What was heard; None for a nonce that is not this session's, not fresh, or used. Raises as `issue`."""
        owner, now = session_hash(session), self._clock.wall()
        return await self._do(lambda db: self._heard(db, nonce, owner, now)) if is_ours(nonce) else None

    async def consume(self, nonce: str, session: str) -> Issued | None:
        """As `look`, and the nonce is used up. Raises as `issue`."""
        owner, now = session_hash(session), self._clock.wall()

        def work(db: sqlite3.Connection) -> Issued | None:
            db.execute("BEGIN IMMEDIATE")
            issued = self._heard(db, nonce, owner, now)
            if issued is not None:
                db.execute("DELETE FROM nonce WHERE nonce = ?", (_hashed(nonce),))
            return issued

        return await self._do(work) if is_ours(nonce) else None

    async def aclose(self) -> None:
        """Close the file. May be called twice; in a forked child nothing is touched. Raises nothing."""
        await self._worker.aclose()

    def _heard(self, db: sqlite3.Connection, nonce: str, owner: bytes | None, now: float) -> Issued | None:
        found = db.execute(
            "SELECT kind, token, detail FROM nonce WHERE nonce = ? AND session = ifnull(?, session)"
            " AND created_at > ? AND created_at <= ?",
            (_hashed(nonce), owner, now - self._rules.fresh, now),
        ).fetchone()
        return None if found is None else Issued(_callback(nonce, *found))

    async def _do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        # Not `write`: it would lock the file for every forged callback. Each job takes the lock when it must write.
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


def _callback(nonce: str, kind: str | None, token: str | None, said: str | None) -> KnownCallback | None:
    if kind is None:
        return None
    if kind == "ready":
        return ProfileReady(nonce, Secret(token or ""), said or "")
    return UserRejected(nonce, said or "") if kind == "rejected" else FlowInvoked(nonce)


def _open(path: Path) -> sqlite3.Connection:
    NONCE_FILE.make(path)
    _refuse_shared_folder(path)
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
    return ConfigError(f"the file of nonces {path} cannot be used: {error}; name another")


def _refuse_shared_folder(path: Path) -> None:
    if os.name == "posix" and path.absolute().parent.stat().st_mode & stat.S_IWOTH:
        raise ConfigError(
            f"the {NONCE_FILE.name} {path} is in a folder where everybody may write, and could put a journal beside "
            "it; name a file in a folder of your own"
        )
