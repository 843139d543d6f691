"""Tokens and ledger on disk: file access, ownership of tokens, and what survives a restart."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import attrs
import pytest

from tests.tokens.world import Mint, acquired, now, pool_of
from tests.virtual import most_in_window, run_virtual
from truecaller_async.client import TruecallerClient
from truecaller_async.errors import AuthenticationFailed, ClientClosed, ConfigError, TokenBudgetExhausted
from truecaller_async.models import Secret, Token
from truecaller_async.models.tokens import StoreSnapshot
from truecaller_async.options import Limits
from truecaller_async.tokens import SqliteTokenStore, TokenPool

NOW = 1_760_000_000.0
TOKEN = Token("0123456789ab", Secret("an-access-token"), NOW, NOW + 3600)

OWNER = """
import asyncio, sys, time
from pathlib import Path
from truecaller_async.models import Secret, Token
from truecaller_async.models.tokens import SentRequest
from truecaller_async.tokens import SqliteTokenStore

async def main():
    store = SqliteTokenStore(Path(sys.argv[1]), "account")
    await store.claim_mint(1, 1800.0, float(sys.argv[2]))
    await store.add(Token("0123456789ab", Secret("an-access-token"), float(sys.argv[2]), float(sys.argv[2]) + 3600))
    await store.record_sent_request(SentRequest("0123456789ab", ("batch",), float(sys.argv[2]) + 1, 1))
    print("ready", flush=True)
    time.sleep(600)

asyncio.run(main())
"""

REFUSED = AuthenticationFailed(401, "authorization-error")

posix_only = pytest.mark.skipif(os.name != "posix", reason="modes and signals of POSIX")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "some" / "folder" / "state.db"


@pytest.fixture
def owner(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Start another process that owns a token."""
    command = [sys.executable, "-c", OWNER, str(path), str(NOW)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - our own script
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
        process.kill()


def store_at(path: Path, account: str = "account") -> SqliteTokenStore:
    return SqliteTokenStore(path, account)


async def store_one_token(path: Path) -> None:
    store = store_at(path)
    await store.claim_mint(10, 1800.0, NOW)
    await store.add(TOKEN)
    await store.release_all(NOW + 1)
    await store.aclose()


def file_of(path: Path, content: bytes) -> None:
    path.parent.mkdir(mode=0o700, parents=True)
    path.write_bytes(content)
    path.chmod(0o600)


def content_of(path: Path) -> bytes:
    return path.read_bytes()


def link_to(path: Path) -> Path:
    link = path.with_name("link.db")
    link.symlink_to(path)
    return link


def make_readable(path: Path, mode: int) -> None:
    path.chmod(mode)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.mark.fault("S05")
@posix_only
async def test_file_is_private_with_any_umask(path: Path) -> None:
    before = os.umask(0)
    try:
        store = store_at(path)
        await store.add(TOKEN)
    finally:
        os.umask(before)
    assert {file.name: mode_of(file) for file in path.parent.iterdir()} == dict.fromkeys(
        ("state.db", "state.db-wal", "state.db-shm"), 0o600
    )
    assert [mode_of(folder) for folder in (path.parent, path.parent.parent)] == [0o700, 0o700]
    await store.aclose()


@pytest.mark.fault("S05")
@posix_only
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
async def test_file_that_others_can_read_is_refused_with_advice(path: Path, mode: int) -> None:
    await store_one_token(path)
    make_readable(path, mode)
    store = store_at(path)
    with pytest.raises(ConfigError, match=rf"others can read it .mode {mode:o}.\. Run chmod 600"):
        await store.adopt(NOW)
    await store.aclose()


@pytest.mark.fault("S05")
@posix_only
async def test_link_is_refused(path: Path) -> None:
    await store_one_token(path)
    store = store_at(link_to(path))
    with pytest.raises(ConfigError, match="cannot be opened"):
        await store.adopt(NOW)
    await store.aclose()


@pytest.mark.fault("S05")
@posix_only
async def test_file_of_another_user_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await store_one_token(path)
    monkeypatch.setattr(os, "getuid", lambda: path.stat().st_uid + 1)
    store = store_at(path)
    with pytest.raises(ConfigError, match=r"belongs to another user\. Choose a file of your own with state="):
        await store.adopt(NOW)
    await store.aclose()


@pytest.mark.fault("S05")
@posix_only
@pytest.mark.parametrize("suffix", ["-wal", "-shm", "-journal"])
@pytest.mark.parametrize("plant", ["link", "readable"])
async def test_planted_side_files_are_refused_and_not_written(path: Path, suffix: str, plant: str) -> None:
    path.parent.mkdir(mode=0o700, parents=True)
    beside, elsewhere = path.with_name(path.name + suffix), path.with_name("elsewhere")
    if plant == "link":
        beside.symlink_to(elsewhere)
    else:
        beside.touch(0o666)
        beside.chmod(0o666)
    store = store_at(path)
    with pytest.raises(ConfigError, match=f"{path.name}{suffix} (cannot be opened|holds access tokens and others)"):
        await store.add(TOKEN)
    await store.aclose()
    assert b"an-access-token" not in b"".join(file.read_bytes() for file in path.parent.iterdir() if file.is_file())
    assert not elsewhere.exists()


@pytest.mark.fault("S05")
@posix_only
async def test_only_own_file_names_are_created(path: Path) -> None:
    store = store_at(path)
    for number in range(5):
        await store.add(attrs.evolve(TOKEN, token_id=f"{number:012d}"))
    names = {file.name for file in path.parent.iterdir()}
    await store.aclose()
    assert names == {"state.db", "state.db-wal", "state.db-shm"}
    assert [file.name for file in path.parent.iterdir()] == ["state.db"]


@pytest.mark.fault("S05")
@pytest.mark.parametrize("content", [b"this is no database\n" * 100, b"SQLite format 3\0" + b"\xff" * 4080])
async def test_file_that_is_no_database_is_refused_and_unchanged(path: Path, content: bytes) -> None:
    file_of(path, content)
    store = store_at(path)
    with pytest.raises(ConfigError, match=r"cannot be used.*Move it away"):
        await store.adopt(NOW)
    await store.aclose()
    assert content_of(path) == content


async def test_file_of_a_newer_version_is_refused(path: Path) -> None:
    await store_one_token(path)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version=99")
    connection.close()
    store = store_at(path)
    with pytest.raises(ConfigError, match="newer version"):
        await store.adopt(NOW)
    await store.aclose()


@pytest.mark.fault("S05")
async def test_api_key_is_never_in_the_file(path: Path) -> None:
    key = "c4n4ry-0f-4n-4p1-k3y"
    client = TruecallerClient(
        client_account_id="00000000-0000-4000-8000-000000000000",
        key_id="the-key-id",
        api_key=key,
        state=f"sqlite:///{path}",
    )
    await client._shared.pool.open()
    await client._shared.pool._state.store.add(TOKEN)
    written = b"".join(file.read_bytes() for file in path.parent.iterdir())
    assert b"an-access-token" in written
    assert key.encode() not in written
    assert b"the-key-id" not in written
    await client.aclose()


async def test_tokens_and_ledger_survive_the_store(path: Path) -> None:
    await store_one_token(path)
    store = store_at(path)
    (token,) = await store.adopt(NOW + 60)
    assert (token.secret, token.created_at, token.expires_at, token.idle_since) == (
        TOKEN.secret,
        NOW,
        NOW + 3600,
        NOW + 1,
    )
    assert await store.claim_mint(1, 1800.0, NOW + 60) == 1740.0
    await store.aclose()


async def test_expired_token_is_not_adopted(path: Path) -> None:
    await store_one_token(path)
    store = store_at(path)
    assert list(await store.adopt(NOW + 3600)) == []
    await store.aclose()


async def test_accounts_in_one_file_do_not_see_each_other(path: Path) -> None:
    await store_one_token(path)
    other = store_at(path, "another account")
    assert list(await other.adopt(NOW)) == []
    assert await other.claim_mint(1, 1800.0, NOW) == 0.0
    await other.aclose()


@posix_only
async def test_tokens_of_a_live_process_are_kept_and_of_a_killed_one_adopted(
    path: Path, owner: subprocess.Popen[str]
) -> None:
    store = store_at(path)
    assert list(await store.adopt(NOW)) == []
    assert await store.claim_mint(1, 1800.0, NOW + 5) > 0.0
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    (token,) = await store.adopt(NOW)
    assert (token.secret, token.idle_since) == (TOKEN.secret, None)
    assert await store.sent_requests(token.token_id, NOW, NOW + 9) == {"batch": [NOW + 9]}
    await store.aclose()


async def test_two_stores_of_one_process_do_not_share_a_token(path: Path) -> None:
    await store_one_token(path)
    first, second = store_at(path), store_at(path)
    found = [list(await store.adopt(NOW)) for store in (first, second)]
    assert [len(tokens) for tokens in found] == [1, 0]
    for store in (first, second):
        await store.aclose()


async def users_seen_by(store: SqliteTokenStore) -> list[str]:
    return [token.used_by for token in (await store.snapshot(NOW, NOW)).tokens]


async def test_snapshot_creates_neither_file_nor_folder(path: Path) -> None:
    store = store_at(path)
    assert await store.snapshot(NOW, NOW) == StoreSnapshot()
    assert not list(path.parent.parent.parent.iterdir())
    await store.aclose()


async def test_snapshot_changes_neither_file_nor_folder(path: Path) -> None:
    await store_one_token(path)
    before = content_of(path), sorted(file.name for file in path.parent.iterdir())
    store = store_at(path)
    assert await users_seen_by(store) == ["none"]
    await store.aclose()
    assert (content_of(path), sorted(file.name for file in path.parent.iterdir())) == before


async def test_snapshot_does_not_claim_ownership(path: Path) -> None:
    await store_one_token(path)
    reader, next_store = store_at(path), store_at(path)
    assert await users_seen_by(reader) == ["none"]
    assert len(await next_store.adopt(NOW)) == 1
    assert await users_seen_by(reader) == ["other"]
    assert await users_seen_by(next_store) == ["this"]
    for store in (reader, next_store):
        await store.aclose()


@posix_only
async def test_snapshot_distinguishes_a_live_process_from_a_killed_one(
    path: Path, owner: subprocess.Popen[str]
) -> None:
    store = store_at(path)
    assert await users_seen_by(store) == ["other"]
    owner.kill()
    owner.wait()
    assert await users_seen_by(store) == ["none"]
    await store.aclose()


async def test_snapshot_has_only_its_own_account(path: Path) -> None:
    await store_one_token(path)
    other = store_at(path, "another account")
    assert await other.snapshot(NOW, NOW - 60) == StoreSnapshot()
    await other.aclose()


@pytest.mark.parametrize("content", [b"", b"this is no database\n" * 100])
async def test_snapshot_of_an_empty_file_is_empty_and_foreign_file_is_refused(path: Path, content: bytes) -> None:
    file_of(path, content)
    store = store_at(path)
    if content:
        with pytest.raises(ConfigError, match=r"cannot be used.*Move it away"):
            await store.snapshot(NOW, NOW)
    else:
        assert await store.snapshot(NOW, NOW) == StoreSnapshot()
    await store.aclose()
    assert content_of(path) == content


@pytest.mark.fault("S05")
@posix_only
async def test_snapshot_refuses_a_link_a_folder_and_a_readable_file(path: Path) -> None:
    await store_one_token(path)
    for unusable in (link_to(path), path.parent):
        store = store_at(unusable)
        with pytest.raises(ConfigError, match="cannot be opened"):
            await store.snapshot(NOW, NOW)
        await store.aclose()
    make_readable(path, 0o644)
    store = store_at(path)
    with pytest.raises(ConfigError, match="Run chmod 600"):
        await store.snapshot(NOW, NOW)
    await store.aclose()


async def test_snapshot_of_a_file_of_a_newer_version_is_refused(path: Path) -> None:
    await store_one_token(path)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version=99")
    connection.close()
    store = store_at(path)
    with pytest.raises(ConfigError, match="newer version"):
        await store.snapshot(NOW, NOW)
    await store.aclose()


async def test_closed_store_gives_no_snapshot(path: Path) -> None:
    store = store_at(path)
    await store.aclose()
    with pytest.raises(ClientClosed):
        await store.snapshot(NOW, NOW)


async def test_concurrent_claims_of_several_stores_respect_the_limit(path: Path) -> None:
    stores = [store_at(path) for _ in range(4)]
    waits = await asyncio.gather(*(store.claim_mint(10, 1800.0, NOW) for store in stores * 5))
    assert sum(wait == 0.0 for wait in waits) == 10
    for store in stores:
        await store.aclose()


async def test_closed_store_stays_closed(path: Path) -> None:
    store = store_at(path)
    await store.adopt(NOW)
    await store.aclose()
    with pytest.raises(ClientClosed):
        await store.claim_mint(10, 1800.0, NOW)


async def test_store_opened_before_a_fork_belongs_to_the_parent(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = store_at(path)
    await store.add(TOKEN)
    with monkeypatch.context() as child:
        child.setattr(os, "getpid", lambda: -1)
        with pytest.raises(ClientClosed, match="another process"):
            await store.adopt(NOW)
        await store.release_all(NOW)
    await store.release_all(NOW + 7)
    await store.aclose()
    later = store_at(path)
    assert [token.idle_since for token in await later.adopt(NOW + 8)] == [NOW + 7]
    await later.aclose()


async def submits(pool: TokenPool, seconds: float) -> list[float]:
    granted, end = list[float](), now() + seconds
    while now() < end:
        await acquired(pool, "submit")
        granted.append(now())
    return granted


@pytest.mark.parametrize("scope", ["token", "account"])
def test_restart_stays_within_the_limit(path: Path, scope: Literal["token", "account"]) -> None:
    async def scene() -> tuple[list[float], int]:
        granted, mint = list[float](), Mint(seconds=0.0)
        limits = Limits.documented().replace(batch=(12, 60.0))
        limits = Limits(tuple(attrs.evolve(rule, scope=scope) for rule in limits))
        for _ in range(4):
            pool = pool_of(mint, max_tokens=1, limits=limits, store=store_at(path))
            granted += await submits(pool, 20.0)
            await pool.aclose()
        return granted, len(mint.asked)

    granted, mints = run_virtual(scene)
    assert mints == 1
    assert len(granted) >= 12
    assert most_in_window(granted, 60.0) <= 12


def test_crash_loop_respects_the_mint_budget(path: Path) -> None:
    async def scene() -> None:
        mint = Mint(seconds=0.0)
        for turn in range(30):
            pool = pool_of(mint, store=store_at(path))
            if turn < 10:
                await pool.discard((await pool.grow()).token_id, REFUSED)  # type: ignore[union-attr]
            else:
                with pytest.raises(TokenBudgetExhausted):
                    await acquired(pool, "push")
            await pool.aclose()
            await asyncio.sleep(20.0)
        assert len(mint.asked) == 10

    run_virtual(scene)
