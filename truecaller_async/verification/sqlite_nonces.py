"""Nonces in one SQLite file, for the workers of one machine: the callback reaches one, the browser asks another.

The file is ours alone (`private_file`): between a callback and its browser it holds an access token. Its folder must
not be everybody's either, because SQLite believes a journal that lies beside the file. What is used or old is deleted,
and overwritten. Nonces and sessions are kept as hashes.

One thread owns the connection. A callback is looked up before anything is locked, so that a flood of forged ones does
not stand in the way of the good ones.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import sqlite3
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from truecaller_async.clock import Clock
from truecaller_async.errors import ClientClosed, ConfigError
from truecaller_async.models import Secret
from truecaller_async.private_file import PrivateFile
from truecaller_async.verification.callbacks import FlowInvoked, KnownCallback, ProfileReady, UserRejected
from truecaller_async.verification.nonces import Issued, Rules, counts, is_ours, new_nonce, session_hash

T = TypeVar("T")

SCHEMA = """
CREATE TABLE IF NOT EXISTS nonce(
    nonce BLOB PRIMARY KEY, session BLOB NOT NULL, born REAL NOT NULL, kind TEXT, token TEXT, said TEXT) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS nonce_born ON nonce(born);
"""
BUSY_SECONDS = 5.0
NONCE_FILE = PrivateFile("file of nonces", "access tokens", "another path")


class SqliteNonceStore:
    """The `NonceStore` of several processes. `path` is the file, `clock` the wall clock.

    Opened by the first use. Its methods raise `ConfigError` where the file cannot be used, and `ClientClosed`.
    """

    def __init__(self, path: str | Path, rules: Rules | None = None, *, clock: Clock | None = None) -> None:
        self._path = Path(path)
        self._rules = rules or Rules()
        self._clock = clock or Clock()
        self._thread: ThreadPoolExecutor | None = None
        self._connection: sqlite3.Connection | None = None
        self._pid: int | None = None
        self._closed = False

    async def issue(self, session: str) -> str:
        """A new nonce, bound to this session. Raises `ValidationError` for an empty session, and as the class says."""
        owner, nonce, now = session_hash(session), new_nonce(), self._clock.wall()

        def work(db: sqlite3.Connection) -> None:
            db.execute("BEGIN IMMEDIATE")
            db.execute("DELETE FROM nonce WHERE born <= ?", (now - self._rules.fresh,))
            (kept,) = db.execute("SELECT count(*) FROM nonce").fetchone()
            over = max(0, kept + 1 - self._rules.capacity)
            db.execute("DELETE FROM nonce WHERE nonce IN (SELECT nonce FROM nonce ORDER BY born LIMIT ?)", (over,))
            db.execute("INSERT INTO nonce(nonce, session, born) VALUES (?, ?, ?)", (_hashed(nonce), owner, now))

        await self._do(work)
        return nonce

    async def note(self, callback: KnownCallback) -> bool:
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
                "UPDATE nonce SET kind = ?, token = ?, said = ? WHERE nonce = ?", (*_row(callback), _hashed(nonce))
            )
            return True

        return await self._do(work)

    async def look(self, nonce: str, session: str) -> Issued | None:
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
        self._closed = True
        thread, self._thread = self._thread, None
        if thread is None or self._pid != os.getpid():
            return
        try:
            await asyncio.get_running_loop().run_in_executor(thread, self._close)  # behind what is still queued
        finally:
            thread.shutdown(wait=False)

    def _heard(self, db: sqlite3.Connection, nonce: str, owner: bytes | None, now: float) -> Issued | None:
        found = db.execute(
            "SELECT kind, token, said FROM nonce WHERE nonce = ? AND session = ifnull(?, session)"
            " AND born > ? AND born <= ?",
            (_hashed(nonce), owner, now - self._rules.fresh, now),
        ).fetchone()
        return None if found is None else Issued(_callback(nonce, *found))

    async def _do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        if self._closed:
            raise ClientClosed("the store of nonces was closed; make a new one")
        if self._thread is None:
            self._pid, self._thread = os.getpid(), ThreadPoolExecutor(1, thread_name_prefix="truecaller-nonces")
        if self._pid != os.getpid():
            raise ClientClosed("the store of nonces was opened in another process; make a new one after the fork")
        return await asyncio.get_running_loop().run_in_executor(self._thread, lambda: self._run(work))

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            if self._connection is None:
                self._connection = _open(self._path)
            with self._connection as db:
                return work(db)
        except sqlite3.Error as error:
            raise ConfigError(f"the file of nonces {self._path} cannot be used: {error}; name another") from None


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
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA secure_delete=ON")
        connection.executescript(SCHEMA)
    except BaseException:
        connection.close()
        raise
    return connection


def _refuse_shared_folder(path: Path) -> None:
    if os.name == "posix" and path.absolute().parent.stat().st_mode & stat.S_IWOTH:
        raise ConfigError(
            f"the {NONCE_FILE.name} {path} is in a folder where everybody may write, and could put a journal beside "
            "it; name a file in a folder of your own"
        )
