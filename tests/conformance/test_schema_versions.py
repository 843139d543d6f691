"""A SQLite file of a version that cannot be used is refused, unchanged, with what to do.

Older journals are migrated: `tests/journal/test_golden.py`. Those of version 1 are not supported.
"""

# ruff: noqa: ASYNC240 - nothing else runs in these loops

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import TypeAlias

import pytest

from tests.journal.entry_generator import STARTED
from tests.journal.storing import store
from truecaller_async.errors import ConfigError, JournalError
from truecaller_async.journal import SqliteJournal
from truecaller_async.journal.schema import VERSION as JOURNAL_VERSION
from truecaller_async.models.tokens import SentRequest
from truecaller_async.tokens import SqliteTokenStore
from truecaller_async.verification import SqliteNonceStore
from truecaller_async.webhooks.event_queries import stats
from truecaller_async.webhooks.event_store import EventStore

Use: TypeAlias = Callable[[Path], Awaitable[None]]


async def use_journal(path: Path) -> None:
    journal = SqliteJournal(path)
    state = await journal.open(is_new=not path.exists())
    if state.started is None:
        await store(journal, state, STARTED)
    await journal.aclose()


async def use_token_store(path: Path) -> None:
    store = SqliteTokenStore(path, "account")
    try:
        await store.claim_mint(10, 1800.0, 1_760_000_000.0)
    finally:
        await store.aclose()


async def use_token_snapshot(path: Path) -> None:
    if not path.exists():
        return await use_token_store(path)
    store = SqliteTokenStore(path, "account")
    try:
        await store.snapshot(1_760_000_000.0, 0.0)
    finally:
        await store.aclose()


async def use_event_store(path: Path) -> None:
    store = EventStore(path)
    try:
        await store.open()
        await store.run(stats)
    finally:
        await store.aclose()


async def use_nonce_store(path: Path) -> None:
    store = SqliteNonceStore(path)
    try:
        await store.issue("session-of-a-browser")
    finally:
        await store.aclose()


USES = (
    (use_journal, JOURNAL_VERSION),
    (use_token_store, 3),
    (use_token_snapshot, 3),
    (use_event_store, 2),
    (use_nonce_store, 2),
)
"""Each with the version of its tables."""


def version_of(path: Path) -> int:
    with closing(sqlite3.connect(path)) as db:
        version: int = db.execute("PRAGMA user_version").fetchone()[0]
        return version


def set_version(path: Path, version: int) -> bytes:
    """Change the stored version and return the content of the file."""
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA user_version = {version}")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path.read_bytes()


@pytest.mark.parametrize(("use", "version"), USES)
async def test_file_of_the_current_version_is_used_again(tmp_path: Path, use: Use, version: int) -> None:
    path = tmp_path / "data.db"
    for _ in range(2):
        await use(path)
        assert version_of(path) == version


@pytest.mark.parametrize(("use", "version"), USES)
async def test_file_of_an_older_version_is_refused_unchanged(tmp_path: Path, use: Use, version: int) -> None:
    path = tmp_path / "data.db"
    await use(path)
    before = set_version(path, 1)
    with pytest.raises((ConfigError, JournalError), match="was written by an older version of this library") as caught:
        await use(path)
    assert str(path) in str(caught.value)
    assert f"its tables have version 1, and this library uses version {version}" in str(caught.value)
    assert "Finish its work with the version that wrote it, or delete the file and start again." in str(caught.value)
    assert path.read_bytes() == before


@pytest.mark.parametrize(("use", "version"), USES)
async def test_file_of_a_newer_version_is_refused_unchanged(tmp_path: Path, use: Use, version: int) -> None:
    path = tmp_path / "data.db"
    await use(path)
    before = set_version(path, version + 1)
    with pytest.raises((ConfigError, JournalError), match=r"newer version .* Update truecaller-async\."):
        await use(path)
    assert path.read_bytes() == before


TOKEN_FILE_OF_VERSION_2 = """
CREATE TABLE token(
    account TEXT NOT NULL, token_id TEXT NOT NULL, token TEXT NOT NULL, created_at REAL NOT NULL,
    expires_at REAL NOT NULL, owner TEXT, idle_since REAL, PRIMARY KEY(account, token_id)) WITHOUT ROWID;
CREATE TABLE mint(account TEXT NOT NULL, claimed_at REAL NOT NULL);
CREATE TABLE sent_request(
    account TEXT NOT NULL, token_id TEXT NOT NULL, rule TEXT NOT NULL, sent_at REAL NOT NULL);
CREATE INDEX mint_time ON mint(account, claimed_at);
CREATE INDEX sent_request_time ON sent_request(account, token_id, sent_at);
INSERT INTO token VALUES ('account', '0123456789ab', 'an-access-token', 1000.0, 4600.0, NULL, 1100.0);
INSERT INTO mint VALUES ('account', 1000.0);
INSERT INTO sent_request VALUES ('account', '0123456789ab', 'batch', 1050.0);
PRAGMA user_version = 2;
"""


async def test_token_file_of_version_2_is_upgraded_with_its_content(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    path.touch(0o600)
    with closing(sqlite3.connect(path)) as db:
        db.executescript(TOKEN_FILE_OF_VERSION_2)
    store = SqliteTokenStore(path, "account")
    snapshot = await store.snapshot(1200.0, 0.0)
    assert ([token.token_id for token in snapshot.tokens], snapshot.mints) == (["0123456789ab"], (1000.0,))
    assert version_of(path) == 2
    (token,) = await store.adopt(1200.0)
    assert (token.token_id, token.idle_since) == ("0123456789ab", 1100.0)
    assert version_of(path) == 3
    assert await store.sent_requests(token.token_id, 0.0, 1200.0) == {"batch": [1050.0]}
    await store.record_sent_request(SentRequest(token.token_id, ("batch",), 1210.0, 1))
    await store.aclose()
    again = SqliteTokenStore(path, "account")
    assert await again.sent_requests(token.token_id, 0.0, 1220.0) == {"batch": [1050.0, 1220.0]}
    await again.aclose()


async def test_nonce_file_of_version_1_has_no_mark_and_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "nonces.db"
    path.touch(0o600)
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE nonce(nonce BLOB PRIMARY KEY, session BLOB, born REAL) WITHOUT ROWID")
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="its tables have version 1, and this library uses version 2"):
        await use_nonce_store(path)
    assert path.read_bytes() == before
