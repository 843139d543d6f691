"""Every `TokenStore` behaves the same, apart from durability, which is a parameter."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TypeAlias

import attrs
import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from tests.virtual import most_in_window, run_virtual
from truecaller_async.models import Secret, Token
from truecaller_async.models.tokens import SentRequest, StoredToken, StoreSnapshot
from truecaller_async.ports import TokenStore
from truecaller_async.tokens import MemoryTokenStore, SqliteTokenStore

NOW = 1_760_000_000.0
TOKEN = Token("0123456789ab", Secret("an-access-token"), NOW, NOW + 3600)

Opener: TypeAlias = Callable[[], TokenStore]


@attrs.frozen
class Kind:
    """One adapter of the port."""

    open: Opener
    """Opens a store; all of them use the same place."""
    durable: bool
    """Whether the tokens are still there after the store was closed."""


@pytest_asyncio.fixture(params=["memory", "sqlite"])
async def kind(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Kind]:
    opened: list[TokenStore] = []

    def opener() -> TokenStore:
        durable = request.param == "sqlite"
        store = SqliteTokenStore(tmp_path / "state.db", "account") if durable else MemoryTokenStore()
        opened.append(store)
        return store

    yield Kind(opener, request.param == "sqlite")
    for store in opened:
        await store.aclose()


async def recorded(store: TokenStore, request: SentRequest) -> None:
    if (noted := store.record_sent_request(request)) is not None:
        await noted


async def test_new_store_has_no_tokens_and_no_sent_requests(kind: Kind) -> None:
    store = kind.open()
    assert list(await store.adopt(NOW)) == []
    assert dict(await store.sent_requests(TOKEN.token_id, NOW - 60, NOW)) == {}


async def test_mint_ledger_enforces_the_limit_and_reports_the_next_free_time(kind: Kind) -> None:
    store = kind.open()
    assert [await store.claim_mint(3, 100.0, NOW + n) for n in range(3)] == [0.0] * 3
    assert await store.claim_mint(3, 100.0, NOW + 10) == 90.0
    assert 0.0 < await store.claim_mint(3, 100.0, NOW + 99.9995) <= 0.001
    assert await store.claim_mint(3, 100.0, NOW + 100) == 0.0
    assert await store.claim_mint(3, 100.0, NOW + 100) == 1.0


async def test_denied_claim_is_not_recorded(kind: Kind) -> None:
    store = kind.open()
    await store.claim_mint(1, 100.0, NOW)
    for second in range(1, 100):
        assert await store.claim_mint(1, 100.0, NOW + second) == 100.0 - second
    assert await store.claim_mint(1, 100.0, NOW + 100) == 0.0


async def test_refund_removes_one_mint_of_that_time(kind: Kind) -> None:
    store = kind.open()
    for _ in range(2):
        await store.claim_mint(2, 100.0, NOW)
    await store.refund_mint(NOW)
    await store.refund_mint(NOW + 5)
    assert await store.claim_mint(2, 100.0, NOW + 1) == 0.0
    assert await store.claim_mint(2, 100.0, NOW + 1) > 0.0


async def test_process_local_store_does_not_share_tokens_with_a_second_store(kind: Kind) -> None:
    first, second = kind.open(), kind.open()
    await first.add(TOKEN)
    assert list(await second.adopt(NOW)) == []


async def test_released_tokens_are_adopted_from_a_durable_store(kind: Kind) -> None:
    first = kind.open()
    await first.add(TOKEN)
    request = SentRequest(TOKEN.token_id, ("batch",), NOW + 5, 1)
    await recorded(first, request)
    first.record_request_end(request, NOW + 7)
    await first.release_all(NOW + 30)
    await first.aclose()
    second = kind.open()
    adopted = list(await second.adopt(NOW + 60))
    assert adopted == ([attrs.evolve(TOKEN, idle_since=NOW + 30)] if kind.durable else [])
    known = dict(await second.sent_requests(TOKEN.token_id, NOW, NOW + 60))
    assert known == ({"batch": [NOW + 7]} if kind.durable else {})


async def test_request_counts_at_its_answer_or_now_without_one(kind: Kind) -> None:
    store = kind.open()
    answered, open_one, unsent = (SentRequest(TOKEN.token_id, ("batch", "day"), NOW, number) for number in (1, 2, 3))
    for request in (answered, open_one, unsent):
        await recorded(store, request)
    store.record_request_end(answered, NOW + 5)
    store.record_request_end(unsent, None)
    await store.release_all(None)
    for later in (60.0, 90.0):
        times = [NOW + 5, NOW + 60] if kind.durable else []
        known = dict(await store.sent_requests(TOKEN.token_id, NOW, NOW + later))
        assert known == ({"batch": times, "day": times} if times else {})
    assert set(await store.sent_requests(TOKEN.token_id, NOW + 60, NOW + 99)) == set()


async def test_tokens_released_with_open_requests_are_not_idle(kind: Kind) -> None:
    first = kind.open()
    await first.add(TOKEN)
    await first.release_all(None)
    await first.aclose()
    assert [token.idle_since for token in await kind.open().adopt(NOW + 60)] == ([None] if kind.durable else [])


async def test_ends_of_requests_are_stored_at_the_close(kind: Kind) -> None:
    first = kind.open()
    request = SentRequest(TOKEN.token_id, ("batch",), NOW, 1)
    await recorded(first, request)
    first.record_request_end(request, NOW + 1)
    await first.aclose()
    known = dict(await kind.open().sent_requests(TOKEN.token_id, NOW, NOW + 60))
    assert known == ({"batch": [NOW + 1]} if kind.durable else {})


async def test_discarded_token_is_never_returned_again(kind: Kind) -> None:
    first = kind.open()
    await first.add(TOKEN)
    await first.discard(TOKEN.token_id)
    await first.discard("never known")
    await first.release_all(NOW)
    await first.aclose()
    assert list(await kind.open().adopt(NOW)) == []


async def test_snapshot_of_a_new_store_is_empty(kind: Kind) -> None:
    assert await kind.open().snapshot(NOW, NOW - 1800) == StoreSnapshot()


async def test_snapshot_has_live_tokens_and_mints_in_the_window(kind: Kind) -> None:
    store = kind.open()
    for second in (5, 0, 3):
        await store.claim_mint(10, 1800.0, NOW + second)
    younger = attrs.evolve(TOKEN, token_id="ba9876543210", created_at=NOW + 9, expires_at=NOW + 3609)
    await store.add(younger)
    await store.add(TOKEN)
    snapshot = await store.snapshot(NOW + 10, NOW + 2)
    assert snapshot.mints == (NOW + 3, NOW + 5)
    assert snapshot.tokens == (
        StoredToken(TOKEN.token_id, NOW, NOW + 3600, "this"),
        StoredToken(younger.token_id, NOW + 9, NOW + 3609, "this"),
    )
    assert [token.token_id for token in (await store.snapshot(NOW + 3600, NOW)).tokens] == [younger.token_id]


async def test_snapshot_excludes_discarded_tokens_and_refunded_mints(kind: Kind) -> None:
    store = kind.open()
    await store.claim_mint(10, 1800.0, NOW)
    await store.add(TOKEN)
    await store.refund_mint(NOW)
    await store.discard(TOKEN.token_id)
    assert await store.snapshot(NOW, NOW - 60) == StoreSnapshot()


async def test_snapshot_changes_nothing(kind: Kind) -> None:
    store = kind.open()
    await store.claim_mint(1, 100.0, NOW)
    await store.add(TOKEN)
    assert await store.snapshot(NOW + 9000, NOW + 9000) == StoreSnapshot()
    first = await store.snapshot(NOW, NOW - 100)
    assert await store.snapshot(NOW, NOW - 100) == first != StoreSnapshot()
    assert await store.claim_mint(1, 100.0, NOW + 1) == 99.0


async def test_snapshot_shows_no_secret(kind: Kind) -> None:
    store = kind.open()
    await store.add(TOKEN)
    assert TOKEN.secret.reveal() not in repr(await store.snapshot(NOW, NOW))


async def test_released_tokens_have_no_owner_in_a_durable_store(kind: Kind) -> None:
    store = kind.open()
    await store.add(TOKEN)
    await store.release_all(NOW + 1)
    assert [token.used_by for token in (await store.snapshot(NOW + 2, NOW)).tokens] == (
        ["none"] if kind.durable else []
    )


async def test_store_may_be_closed_twice_or_unused(kind: Kind) -> None:
    used, unused = kind.open(), kind.open()
    await used.adopt(NOW)
    for store in (used, used, unused, unused):
        await store.aclose()


@given(st.integers(1, 5), st.lists(st.floats(0, 40), max_size=30))
def test_granted_claims_respect_the_limit_in_any_window(limit: int, pauses: list[float]) -> None:
    async def scenario() -> list[float]:
        store, now, granted = MemoryTokenStore(), NOW, list[float]()
        for pause in pauses:
            now += pause
            if await store.claim_mint(limit, 60.0, now) == 0.0:
                granted.append(now)
        return granted

    assert most_in_window(run_virtual(scenario), 60.0) <= limit
