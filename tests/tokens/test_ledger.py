"""The ledger of mints: when the wall clock is set, for each store, and when two processes share it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

import pytest
import pytest_asyncio

from tests.tokens.world import Mint, now, pool_of
from truecaller_async import Limits, TokenBudgetExhausted
from truecaller_async.ports import TokenStore
from truecaller_async.tokens import MemoryTokenStore, SqliteTokenStore, TokenPermit

NOW = 1_760_000_000.0
HOUR = 3600.0
WINDOW = 1836.0


@pytest_asyncio.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[TokenStore]:
    durable = request.param == "sqlite"
    store: TokenStore = SqliteTokenStore(tmp_path / "state.db", "account") if durable else MemoryTokenStore()
    yield store
    await store.aclose()


async def test_clock_set_back_an_hour_delays_a_mint_by_one_window_at_most(store: TokenStore) -> None:
    for _ in range(3):
        assert await store.claim_mint(3, WINDOW, NOW + HOUR) == 0.0
    assert await store.claim_mint(3, WINDOW, NOW) == WINDOW
    assert await store.claim_mint(3, WINDOW, NOW + WINDOW - 1.0) == pytest.approx(1.0)
    assert await store.claim_mint(3, WINDOW, NOW + WINDOW) == 0.0


async def test_snapshot_after_the_clock_was_set_back_has_no_future_mint(store: TokenStore) -> None:
    await store.claim_mint(3, WINDOW, NOW + HOUR)
    assert (await store.snapshot(NOW, NOW - WINDOW)).mints == (NOW,)
    assert (await store.snapshot(NOW + HOUR, NOW)).mints == (NOW + HOUR,)


async def test_slightly_reordered_claims_can_be_refunded(store: TokenStore) -> None:
    await store.claim_mint(3, WINDOW, NOW + HOUR)
    await store.claim_mint(3, WINDOW, NOW + HOUR + 0.5)
    await store.claim_mint(3, WINDOW, NOW + HOUR + 0.4)
    await store.refund_mint(NOW + HOUR + 0.4)
    assert await store.claim_mint(3, WINDOW, NOW + HOUR + 1.0) == 0.0
    assert await store.claim_mint(3, WINDOW, NOW + HOUR + 1.0) > 0.0


@pytest.mark.fault("F09")
async def test_with_a_spent_budget_a_released_token_is_adopted(tmp_path: Path) -> None:
    limits = Limits.documented().replace(mint=(1, 1800.0))
    first = pool_of(Mint(seconds=0.0), limits=limits, store=SqliteTokenStore(tmp_path / "state.db", "one"))
    second = pool_of(mint := Mint(seconds=0.0), limits=limits, store=SqliteTokenStore(tmp_path / "state.db", "one"))
    token = await first.grow()
    with pytest.raises(TokenBudgetExhausted):
        await second.grow()
    await first.aclose()
    assert await second.grow() is None
    assert [known.token_id for known in second.live()] == [token.token_id if token else ""]
    assert mint.asked == []
    await second.aclose()


async def test_adopted_token_is_lent_only_once_its_usage_is_known(tmp_path: Path) -> None:
    """Otherwise its limits would start empty between the two steps."""

    class SlowToRemember(SqliteTokenStore):
        async def sent_requests(self, token_id: str, since: float, now: float) -> Mapping[str, Sequence[float]]:
            seen.append([token.token_id for token in second.live()])
            return await super().sent_requests(token_id, since, now)

    seen: list[list[str]] = []
    limits = Limits.documented().replace(mint=(1, 1800.0), batch=(2, 60.0))
    first = pool_of(Mint(seconds=0.0), limits=limits, store=SqliteTokenStore(tmp_path / "state.db", "one"))
    second = pool_of(Mint(seconds=0.0), limits=limits, store=SlowToRemember(tmp_path / "state.db", "one"))
    await second.open()
    await first.grow()
    token = first.live()[0]
    permit = first.try_acquire("submit", now(), token.token_id)
    assert isinstance(permit, TokenPermit)
    permit.done(now())
    await first.aclose()
    assert await second.grow() is None
    assert seen == [[]]
    assert [known.token_id for known in second.live()] == [token.token_id]
    assert isinstance(second.try_acquire("submit", now(), token.token_id), float)
    await second.aclose()
