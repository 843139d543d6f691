"""Conformance tests for every nonce store."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from truecaller_async.clock import Clock
from truecaller_async.errors import ClientClosed, ConfigError, ValidationError
from truecaller_async.models import Secret
from truecaller_async.verification import (
    FlowInvoked,
    MemoryNonceStore,
    NonceRules,
    NonceStore,
    ProfileReady,
    SqliteNonceStore,
    UserRejected,
)
from truecaller_async.verification.callbacks import KnownCallback
from truecaller_async.verification.deep_link import NONCE_FORM

TOKEN = "c4n4ry-t0k3n-wh1ch-st4ys-h3r3"
BROWSER, OTHER = "session-of-a-browser", "session-of-another"


class ManualClock(Clock):
    """A wall clock that the test advances."""

    def __init__(self) -> None:
        self.now = 1_760_000_000.0

    def wall(self) -> float:
        return self.now


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


Opener = Callable[..., NonceStore]


@pytest_asyncio.fixture(params=["memory", "sqlite"])
async def open_store(request: pytest.FixtureRequest, clock: ManualClock, tmp_path: Path) -> AsyncIterator[Opener]:
    opened: list[NonceStore] = []

    def open_one(**rules: float) -> NonceStore:
        chosen = NonceRules(**rules)  # type: ignore[arg-type]
        store: NonceStore = (
            MemoryNonceStore(chosen, clock=clock)
            if request.param == "memory"
            else SqliteNonceStore(tmp_path / "nonces.db", chosen, clock=clock)
        )
        opened.append(store)
        return store

    yield open_one
    for store in opened:
        await store.aclose()


@pytest.fixture
def store(open_store: Opener) -> NonceStore:
    return open_store()


def profile_ready(nonce: str) -> ProfileReady:
    return ProfileReady(nonce, Secret(TOKEN), "https://profile.example/v1/default")


async def stored_callback(store: NonceStore, nonce: str, session: str = BROWSER) -> KnownCallback | None:
    issued = await store.find(nonce, session)
    assert issued is not None
    return issued.callback


async def test_nonce_fits_into_a_link_and_is_another_each_time(store: NonceStore) -> None:
    nonces = {await store.issue(BROWSER) for _ in range(50)}
    assert len(nonces) == 50
    assert all(NONCE_FORM.fullmatch(nonce) for nonce in nonces)


async def test_callback_result_reaches_the_requesting_browser_once(store: NonceStore) -> None:
    nonce = await store.issue(BROWSER)
    assert await stored_callback(store, nonce) is None
    assert await store.record(FlowInvoked(nonce))
    assert await stored_callback(store, nonce) == FlowInvoked(nonce)
    assert await store.record(profile_ready(nonce))
    assert await stored_callback(store, nonce) == profile_ready(nonce)
    used = await store.consume(nonce, BROWSER)
    assert used is not None
    assert used.callback == profile_ready(nonce)
    assert await store.consume(nonce, BROWSER) is None
    assert await store.find(nonce, BROWSER) is None


@pytest.mark.fault("S20")
async def test_other_browser_gets_nothing_and_changes_nothing(store: NonceStore) -> None:
    nonce = await store.issue(BROWSER)
    await store.record(profile_ready(nonce))
    assert await store.find(nonce, OTHER) is None
    assert await store.consume(nonce, OTHER) is None
    assert await store.consume(nonce, BROWSER) is not None


@pytest.mark.fault("S25")
@pytest.mark.parametrize(
    ("first", "second", "counts"),
    [
        ("invoked", "invoked", False),
        ("invoked", "ready", True),
        ("invoked", "rejected", True),
        ("ready", "ready", False),
        ("ready", "rejected", False),
        ("ready", "invoked", False),
        ("rejected", "ready", False),
        ("rejected", "rejected", False),
        ("rejected", "invoked", False),
    ],
)
async def test_only_the_first_of_each_kind_and_one_final_status_count(
    store: NonceStore, first: str, second: str, counts: bool
) -> None:
    nonce = await store.issue(BROWSER)
    callbacks: dict[str, KnownCallback] = {
        "invoked": FlowInvoked(nonce),
        "ready": profile_ready(nonce),
        "rejected": UserRejected(nonce),
    }
    assert await store.record(callbacks[first])
    assert await store.record(callbacks[second]) is counts
    assert await stored_callback(store, nonce) == callbacks[second if counts else first]


@pytest.mark.fault("S25")
@pytest.mark.parametrize("foreign", ["", "x", "x" * 32, "RL8YZ41FQMt5Jiak2sc_Ys0OgQA=", "\ud800" * 32, "' OR 1=1 --"])
async def test_unknown_nonce_changes_nothing(store: NonceStore, foreign: str) -> None:
    await store.issue(BROWSER)
    assert not await store.record(FlowInvoked(foreign))
    assert await store.find(foreign, BROWSER) is None
    assert await store.consume(foreign, BROWSER) is None


@pytest.mark.parametrize("nonce", [None, 7, [], {}])
async def test_non_text_nonce_is_refused(store: NonceStore, nonce: str) -> None:
    assert await store.find(nonce, BROWSER) is None
    assert await store.consume(nonce, BROWSER) is None


@pytest.mark.fault("S20")
async def test_nonce_is_valid_for_exactly_ten_minutes(store: NonceStore, clock: ManualClock) -> None:
    nonce = await store.issue(BROWSER)
    clock.now += 599
    assert await store.record(FlowInvoked(nonce))
    clock.now += 1
    assert not await store.record(profile_ready(nonce))
    assert await store.find(nonce, BROWSER) is None
    assert await store.consume(nonce, BROWSER) is None


async def test_nonce_from_the_future_is_invalid(store: NonceStore, clock: ManualClock) -> None:
    nonce = await store.issue(BROWSER)
    clock.now -= 5
    assert await store.find(nonce, BROWSER) is None


async def test_used_nonce_is_not_recorded_again(store: NonceStore) -> None:
    nonce = await store.issue(BROWSER)
    await store.consume(nonce, BROWSER)
    assert not await store.record(profile_ready(nonce))


async def test_of_many_concurrent_uses_one_succeeds(store: NonceStore) -> None:
    nonce = await store.issue(BROWSER)
    got = await asyncio.gather(*(store.consume(nonce, BROWSER) for _ in range(20)))
    assert len([one for one in got if one is not None]) == 1


async def test_of_many_equal_concurrent_callbacks_one_counts(store: NonceStore) -> None:
    nonce = await store.issue(BROWSER)
    assert sum(await asyncio.gather(*(store.record(profile_ready(nonce)) for _ in range(20)))) == 1


async def test_capacity_is_bounded_and_the_oldest_is_dropped(open_store: Opener, clock: ManualClock) -> None:
    store = open_store(capacity=3)
    nonces = []
    for _ in range(5):
        clock.now += 1
        nonces.append(await store.issue(BROWSER))
    assert [await store.find(nonce, BROWSER) is not None for nonce in nonces] == [False, False, True, True, True]


@pytest.mark.parametrize("session", ["", None, 7])
async def test_without_a_session_nothing_is_issued_or_given(store: NonceStore, session: str) -> None:
    nonce = await store.issue(BROWSER)
    for call in (store.issue(session), store.find(nonce, session), store.consume(nonce, session)):
        with pytest.raises(ValidationError, match="session"):
            await call


async def test_second_close_is_harmless(store: NonceStore) -> None:
    await store.issue(BROWSER)
    await store.aclose()
    await store.aclose()


@pytest.mark.parametrize(
    "rules", [{"lifetime": 0}, {"lifetime": float("inf")}, {"capacity": 0}, {"capacity": 1.5}, {"lifetime": "9"}]
)
def test_invalid_nonce_rules_are_refused(rules: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        NonceRules(**rules)  # type: ignore[arg-type]


async def test_two_workers_share_a_file(tmp_path: Path) -> None:
    here, there = SqliteNonceStore(tmp_path / "nonces.db"), SqliteNonceStore(tmp_path / "nonces.db")
    nonce = await here.issue(BROWSER)
    assert await there.record(profile_ready(nonce))
    assert await stored_callback(here, nonce) == profile_ready(nonce)
    both = await asyncio.gather(here.consume(nonce, BROWSER), there.consume(nonce, BROWSER))
    assert len([one for one in both if one is not None]) == 1
    await here.aclose()
    await there.aclose()


async def test_file_is_private_and_has_no_session_nonce_or_used_token(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "nonces.db"
    store = SqliteNonceStore(path)
    nonce = await store.issue(BROWSER)
    await store.record(profile_ready(nonce))
    assert path.stat().st_mode & 0o077 == 0
    assert TOKEN.encode() in path.read_bytes()
    await store.consume(nonce, BROWSER)
    await store.aclose()
    for secret in (TOKEN, nonce, BROWSER):
        assert secret.encode() not in path.read_bytes()


async def test_file_that_others_can_read_or_that_is_a_link_is_refused(tmp_path: Path) -> None:
    readable, link = tmp_path / "readable.db", tmp_path / "link.db"
    readable.touch(0o644)
    link.symlink_to(tmp_path / "elsewhere.db")
    for path in (readable, link):
        store = SqliteNonceStore(path)
        with pytest.raises(ConfigError, match="nonce store"):
            await store.issue(BROWSER)
        await store.aclose()


async def test_world_writable_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o1777)
    store = SqliteNonceStore(tmp_path / "open" / "nonces.db")
    with pytest.raises(ConfigError, match="every user may write"):
        await store.issue(BROWSER)
    await store.aclose()


async def test_file_that_is_not_sqlite_is_a_config_error(tmp_path: Path) -> None:
    path = tmp_path / "nonces.db"
    path.touch(0o600)
    path.write_bytes(b"this is no database at all, and long enough to be seen as one" * 20)
    store = SqliteNonceStore(path)
    with pytest.raises(ConfigError, match="cannot be used"):
        await store.issue(BROWSER)
    await store.aclose()


async def test_closed_file_raises(tmp_path: Path) -> None:
    store = SqliteNonceStore(tmp_path / "nonces.db")
    await store.aclose()
    with pytest.raises(ClientClosed):
        await store.issue(BROWSER)


async def test_close_with_queued_work_ends_it_and_leaks_nothing(tmp_path: Path) -> None:
    store = SqliteNonceStore(tmp_path / "nonces.db")
    works = [asyncio.ensure_future(store.issue(BROWSER)) for _ in range(20)]
    await asyncio.sleep(0)
    await store.aclose()
    assert len(set(await asyncio.gather(*works))) == 20
    assert store._worker._connection is None


WORKER = """
import asyncio, sys
from truecaller_async.verification import SqliteNonceStore, UserRejected

async def work(path):
    store = SqliteNonceStore(path)
    print("here", flush=True)
    nonces = sys.stdin.readline().split()
    recorded = [await store.record(UserRejected(nonce)) for nonce in nonces]
    used = [await store.consume(nonce, "session-of-a-browser") for nonce in nonces]
    print(sum(recorded), len(used) - used.count(None))
    await store.aclose()

asyncio.run(work(sys.argv[1]))
"""


async def start_worker(path: Path) -> asyncio.subprocess.Process:
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(sys.executable, "-c", WORKER, str(path), stdin=pipe, stdout=pipe)


async def test_two_racing_processes_record_and_use_each_nonce_once(tmp_path: Path) -> None:
    store = SqliteNonceStore(tmp_path / "nonces.db")
    nonces = [await store.issue(BROWSER) for _ in range(60)]
    workers = [await start_worker(tmp_path / "nonces.db") for _ in range(2)]
    for worker in workers:
        assert worker.stdout is not None
        assert await worker.stdout.readline() == b"here\n"
    outputs = await asyncio.gather(*(worker.communicate(" ".join(nonces).encode() + b"\n") for worker in workers))
    recorded, used = zip(*(map(int, out.split()) for out, _ in outputs), strict=True)
    assert (sum(recorded), sum(used)) == (60, 60)
    await store.aclose()
