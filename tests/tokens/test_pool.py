"""The pool of tokens, on the virtual loop."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from tests.tokens.world import EventNames, Mint, acquired, answering, now, pool_of
from tests.virtual import BASE, run_virtual
from truecaller_async.errors import (
    AuthenticationFailed,
    BadRequest,
    ClientClosed,
    DeadlineExceeded,
    NotSent,
    RateLimited,
    ResponseLost,
    ServerError,
    TokenBudgetExhausted,
    TruecallerError,
    WaitTooLong,
)
from truecaller_async.models import Token
from truecaller_async.options import Limits
from truecaller_async.tokens import MemoryTokenStore, TokenPermit, TokenPool
from truecaller_async.tokens.credentials_verdict import VERDICT_SECONDS
from truecaller_async.tokens.pool import FRESH_SECONDS
from truecaller_async.tokens.pool_state import TOKEN_LIFE_SECONDS

SLOW = Limits.documented().replace(batch=(1, 10.0))
REFUSED = AuthenticationFailed(401, "authorization-error", "please login again")

POLL_INTERVAL_SECONDS = 1.0
"""How often a test checks the pool while it waits."""

MINT_WINDOW_SECONDS = 1836.0
"""The 30 minutes of the limit, and the 2 % by which the window of the mints is longer."""


class SlowStore(MemoryTokenStore):
    """A store with one live token; adoption takes 0.1 s."""

    def __init__(self, token: Token) -> None:
        super().__init__()
        self._token = token

    async def adopt(self, now: float) -> Sequence[Token]:
        await asyncio.sleep(0.1)
        return [self._token]


async def live_token(pool: TokenPool) -> Token:
    token = await acquired(pool, "push")
    assert [known.token_id for known in pool.live()] == [token.token_id]
    return token


def test_first_request_mints_the_first_token() -> None:
    async def scene() -> None:
        pool = pool_of(mint := Mint())
        await pool.open()
        assert mint.asked == []
        token = await acquired(pool, "push")
        assert (len(mint.asked), pool.minted) == (1, 1)
        assert token.secret.reveal() == "token-1"
        assert (token.created_at, token.expires_at) == (BASE + 0.5, BASE + 0.5 + TOKEN_LIFE_SECONDS)

    run_virtual(scene)


@pytest.mark.fault("F08")
def test_fifty_tasks_without_a_token_mint_one() -> None:
    async def scene() -> None:
        pool = pool_of(mint := Mint())
        calls = ["push", "status", "labels", "numbers", "exports"] * 10
        tokens = await asyncio.gather(*(acquired(pool, call) for call in calls), pool.grow())
        assert len(mint.asked) == 1
        assert {token.token_id for token in tokens if token is not None} == {pool.live()[0].token_id}

    run_virtual(scene)


def test_tasks_arriving_during_adoption_use_the_adopted_token() -> None:
    async def scene() -> None:
        stored = await live_token(pool_of(Mint()))
        pool = pool_of(mint := Mint(), store=SlowStore(stored))
        tokens = await asyncio.gather(*(acquired(pool, "push") for _ in range(5)))
        assert {token.token_id for token in tokens} == {stored.token_id}
        assert mint.asked == []

    run_virtual(scene)


def test_token_of_a_dead_process_counts_as_used_up_in_short_windows() -> None:
    async def scene() -> None:
        stored = await live_token(pool_of(Mint()))
        pool, began = pool_of(Mint(), store=SlowStore(stored)), now()
        await acquired(pool, "push")
        assert now() - began >= 1.0 + 0.1

    run_virtual(scene)


def test_store_that_fails_to_open_is_asked_again() -> None:
    class BrokenOnce(MemoryTokenStore):
        broken = True

        async def adopt(self, now: float) -> Sequence[Token]:
            if self.broken:
                self.broken = False
                raise TruecallerError("the disk is gone")
            return await super().adopt(now)

    async def scene() -> None:
        pool = pool_of(Mint(), store=BrokenOnce())
        with pytest.raises(TruecallerError, match="the disk is gone"):
            await acquired(pool, "push")
        await acquired(pool, "push")
        assert len(pool.live()) == 1

    run_virtual(scene)


def test_there_are_never_more_tokens_than_allowed() -> None:
    async def scene() -> None:
        pool = pool_of(mint := Mint(), max_tokens=3)
        made = [await pool.grow() for _ in range(5)]
        assert [token is not None for token in made] == [True, True, True, False, False]
        assert len(mint.asked) == len(pool.live()) == 3

    run_virtual(scene)


def test_work_that_would_wait_mints_one_more_token() -> None:
    async def scene() -> None:
        pool = pool_of(Mint(), max_tokens=2, limits=SLOW)
        tokens = [await acquired(pool, "submit") for _ in range(4)]
        assert len({token.token_id for token in tokens}) == 2
        assert now() == pytest.approx(2 * 0.5 + 10.2 - 0.5, abs=1.0)

    run_virtual(scene)


@pytest.mark.fault("F06")
def test_eleventh_mint_in_half_an_hour_is_refused_with_the_next_time() -> None:
    async def scene() -> None:
        pool = pool_of(mint := Mint(), max_tokens=20)
        for _ in range(10):
            await pool.grow()
        with pytest.raises(TokenBudgetExhausted) as refusal:
            await pool.grow()
        assert refusal.value.retry_at.timestamp() == pytest.approx(BASE + MINT_WINDOW_SECONDS)
        assert len(mint.asked) == 10

    run_virtual(scene)


@pytest.mark.fault("F06")
def test_eleventh_mint_waits_if_the_deadline_allows() -> None:
    async def scene() -> None:
        pool = pool_of(mint := Mint(), max_tokens=20)
        for _ in range(10):
            await pool.grow()
        with pytest.raises(TokenBudgetExhausted):
            await pool.grow(budget_deadline=MINT_WINDOW_SECONDS - 1.0)
        assert await pool.grow(budget_deadline=MINT_WINDOW_SECONDS + 1.0) is not None
        assert mint.asked[-1] == pytest.approx(MINT_WINDOW_SECONDS, abs=0.01)

    run_virtual(scene)


@pytest.mark.fault("F06")
def test_spent_budget_does_not_block_the_live_token() -> None:
    async def scene() -> None:
        limits = SLOW.replace(mint=(1, 1800.0))
        pool = pool_of(mint := Mint(), limits=limits)
        for _ in range(3):
            await acquired(pool, "submit", deadline=2000.0)
        assert now() < 25.0
        assert len(mint.asked) == 1

    run_virtual(scene)


@pytest.mark.fault("F08")
@pytest.mark.parametrize("error", [ServerError(503), ResponseLost("reset"), NotSent("refused"), REFUSED])
def test_failed_mint_does_not_fail_work_for_a_live_token(error: Exception) -> None:
    async def scene() -> None:
        observer = EventNames()
        pool = pool_of(mint := answering(None, *[error] * 9), limits=SLOW, observer=observer)
        for _ in range(6):
            await acquired(pool, "submit")
        assert now() < 53.5
        assert len(mint.asked) == 3
        assert observer.names.count("token_pool.growth_failed") == 2

    run_virtual(scene)


@pytest.mark.fault("F06")
@pytest.mark.parametrize(
    ("error", "counted"),
    [
        (NotSent("refused"), False),
        (BadRequest(400), False),
        (REFUSED, False),
        (ServerError(503), True),
        (ResponseLost("reset"), True),
    ],
)
def test_budget_is_charged_for_possibly_successful_mints(error: Exception, counted: bool) -> None:
    async def scene() -> None:
        pool = pool_of(mint := answering(error), limits=Limits.documented().replace(mint=(1, 1800.0)))
        with pytest.raises(type(error)):
            await pool.grow()
        if counted:
            await asyncio.sleep(600.0)  # after it only the budget can refuse a mint
            with pytest.raises(TokenBudgetExhausted):
                await pool.grow()
            assert len(mint.asked) == 1
        else:
            assert await pool.grow() is not None

    run_virtual(scene)


@pytest.mark.fault("F06")
@pytest.mark.parametrize(("retry_after", "wait"), [(None, 60.0), (90.0, 90.0), (1e12, 3600.0)])
def test_throttled_mint_is_not_repeated_before_its_time(retry_after: float | None, wait: float) -> None:
    async def scene() -> None:
        pool = pool_of(mint := answering(RateLimited(retry_after=retry_after)))
        for _ in range(2):
            with pytest.raises(TokenBudgetExhausted) as refusal:
                await pool.grow()
            assert refusal.value.retry_at.timestamp() == pytest.approx(BASE + 0.5 + wait)
        assert len(mint.asked) == 1
        await asyncio.sleep(wait)
        assert await pool.grow() is not None

    run_virtual(scene)


def test_mint_continues_without_the_task_that_requested_it() -> None:
    async def scene() -> None:
        pool = pool_of(mint := Mint(seconds=5.0))
        cancelled = asyncio.create_task(acquired(pool, "push"))
        await asyncio.sleep(1.0)
        cancelled.cancel()
        token = await acquired(pool, "push")
        assert len(mint.asked) == 1
        assert token.secret.reveal() == "token-1"

    run_virtual(scene)


@pytest.mark.fault("F01")
def test_token_is_renewed_at_four_fifths_of_its_life_without_a_gap() -> None:
    async def scene() -> None:
        pool = pool_of(mint := Mint())
        old = await live_token(pool)
        while old in pool.live():
            assert len(pool.live()) <= 2
            await asyncio.sleep(POLL_INTERVAL_SECONDS)
        (new,) = pool.live()
        assert new.token_id != old.token_id
        age = mint.asked[1] - 0.5
        assert 2_700 <= age <= 3_060 + POLL_INTERVAL_SECONDS
        assert len(mint.asked) == 2

    run_virtual(scene)


def test_renewals_of_many_tokens_are_spread_and_run_one_at_a_time() -> None:
    async def scene() -> None:
        pool = pool_of(mint := Mint(), max_tokens=8)
        for _ in range(8):
            await pool.grow()
        while now() < TOKEN_LIFE_SECONDS * 0.9:
            assert 8 <= len(pool.live()) <= 9
            await asyncio.sleep(5.0)
        renewals = mint.asked[8:]
        assert len(renewals) == 8
        assert renewals[-1] - renewals[0] > 60.0

    run_virtual(scene)


def test_failed_renewal_is_retried_after_a_minute_with_the_old_token() -> None:
    async def scene() -> None:
        pool = pool_of(mint := answering(None, ServerError(503), None))
        old = await live_token(pool)
        while len(mint.asked) < 3:
            assert old in pool.live()
            await asyncio.sleep(1.0)
        assert mint.asked[2] - mint.asked[1] == pytest.approx(60.0, abs=3.0)
        await asyncio.sleep(1.0)
        assert old not in pool.live()

    run_virtual(scene)


def test_token_repeated_by_the_server_is_renewed_in_place() -> None:
    async def scene() -> None:
        pool = pool_of(mint := answering(*["the same"] * 9))
        token = await live_token(pool)
        while len(mint.asked) < 2:
            pool.live()
            await asyncio.sleep(60.0)
        (renewed,) = pool.live()
        assert renewed.token_id == token.token_id
        assert renewed.expires_at > token.expires_at

    run_virtual(scene)


def test_repeated_token_keeps_its_cooldown_and_ends_the_growth() -> None:
    async def scene() -> None:
        pool = pool_of(mint := answering(*["the same"] * 9))
        token = await live_token(pool)
        pool.start_cooldown(token.token_id, 100.0)
        cooldown_until = pool.cooldown_until(token.token_id)
        await pool.grow()
        assert pool.cooldown_until(token.token_id) == cooldown_until
        assert await pool.grow() is None
        assert len(mint.asked) == 2

    run_virtual(scene)


def test_token_lives_an_hour_and_no_longer() -> None:
    async def scene() -> None:
        pool = pool_of(mint := Mint())
        await live_token(pool)
        await asyncio.sleep(TOKEN_LIFE_SECONDS)
        assert pool.live() == []
        await acquired(pool, "push")
        assert len(mint.asked) == 2

    run_virtual(scene)


@pytest.mark.fault("F01")
def test_two_tasks_refused_with_one_token_cost_one_mint() -> None:
    async def scene() -> None:
        pool = pool_of(mint := Mint())
        token = await live_token(pool)
        await asyncio.sleep(FRESH_SECONDS)
        await asyncio.gather(*(pool.discard(token.token_id, REFUSED) for _ in range(2)))
        await asyncio.gather(*(acquired(pool, "push") for _ in range(2)))
        await pool.discard(token.token_id, REFUSED)
        assert len(mint.asked) == 2
        assert len(pool.live()) == 1

    run_virtual(scene)


@pytest.mark.fault("F02")
def test_two_fresh_tokens_refused_in_a_row_refuse_the_credentials() -> None:
    async def scene() -> None:
        pool = pool_of(mint := Mint())
        for _ in range(2):
            await pool.discard((await live_token(pool)).token_id, REFUSED)
        refused_at = now()
        assert (pool.fatal_error, pool.refused_until) == (REFUSED, refused_at + VERDICT_SECONDS)
        with pytest.raises(AuthenticationFailed):
            await pool.grow()
        with pytest.raises(
            AuthenticationFailed, match="nothing was sent; the next token is requested in 30 s"
        ) as caught:
            await acquired(pool, "push")
        assert caught.value.sent == "no"
        assert pool.try_acquire("push", now()) == VERDICT_SECONDS
        assert len(mint.asked) == 2

    run_virtual(scene)


async def refuse(pool: TokenPool) -> None:
    """Let the server refuse the credentials, and wait until one mint may be tried."""
    for _ in range(2):
        await pool.discard((await live_token(pool)).token_id, REFUSED)
    await asyncio.sleep(VERDICT_SECONDS)
    assert pool.fatal_error is None


@pytest.mark.fault("F02")
def test_refused_credentials_are_tried_with_one_mint_after_30_seconds() -> None:
    async def scene() -> None:
        pool = pool_of(mint := Mint())
        await refuse(pool)
        for probe in range(3, 6):
            tokens = await asyncio.gather(*(acquired(pool, "push") for _ in range(5)))
            assert len(mint.asked) == probe
            await pool.discard(tokens[0].token_id, REFUSED)
            assert pool.refused_until == now() + VERDICT_SECONDS
            await asyncio.sleep(VERDICT_SECONDS)
        token = await live_token(pool)
        pool.record_success(token.token_id)
        assert pool.refused_until == float("-inf")
        await pool.discard(token.token_id, REFUSED)
        await acquired(pool, "push")

    run_virtual(scene)


def test_tokens_made_before_the_first_refusal_count_once() -> None:
    async def scene() -> None:
        pool = pool_of(Mint(seconds=0.1))
        tokens = [await pool.grow() for _ in range(5)]
        for token in tokens:
            await pool.discard(token.token_id if token else "", REFUSED)
            await asyncio.sleep(0.1)
        assert pool.fatal_error is None
        await pool.discard((await live_token(pool)).token_id, REFUSED)
        assert pool.fatal_error is REFUSED

    run_virtual(scene)


def test_accepted_request_ends_the_refusal_at_once() -> None:
    async def scene() -> None:
        pool, called = pool_of(Mint()), list[float]()
        older = await live_token(pool)
        for _ in range(2):
            token = await pool.grow()
            await pool.discard(token.token_id if token else "", REFUSED)
        assert isinstance(pool.try_acquire("push", now()), float)
        pool.subscribe(lambda: called.append(now()))
        pool.record_success(older.token_id)
        assert called == [now()]
        permit = pool.try_acquire("push", now())
        assert isinstance(permit, TokenPermit)
        permit.cancel()

    run_virtual(scene)


def test_refusal_of_an_adopted_token_is_no_evidence_about_the_account() -> None:
    async def scene() -> None:
        stored = await live_token(pool_of(Mint()))
        pool = pool_of(Mint(), store=SlowStore(stored))
        for _ in range(2):
            await pool.discard((await acquired(pool, "push")).token_id, REFUSED)
        assert (await acquired(pool, "push")).token_id == pool.live()[0].token_id

    run_virtual(scene)


@pytest.mark.parametrize("between", ["works", "is old"])
def test_other_refusals_cost_only_the_token(between: str) -> None:
    async def scene() -> None:
        pool = pool_of(Mint())
        await pool.discard((await live_token(pool)).token_id, REFUSED)
        token = await live_token(pool)
        if between == "works":
            pool.record_success(token.token_id)
        else:
            await asyncio.sleep(FRESH_SECONDS)
        await pool.discard(token.token_id, REFUSED)
        await acquired(pool, "push")
        assert len(pool.live()) == 1

    run_virtual(scene)


def test_longer_cooldown_stays_and_a_cooldown_expires_by_itself() -> None:
    async def scene() -> None:
        pool = pool_of(Mint(seconds=0.0), max_tokens=1)
        token = await live_token(pool)
        pool.start_cooldown(token.token_id, 30.0)
        pool.start_cooldown(token.token_id, 5.0)
        assert (pool.cooling_down_count(), pool.cooldown_until(token.token_id)) == (1, 30.0)
        await acquired(pool, "push")
        assert now() == pytest.approx(30.0, abs=0.01)
        assert pool.cooling_down_count() == 0
        pool.start_cooldown("a token that is gone", 30.0)

    run_virtual(scene)


def test_consecutive_refusals_are_counted() -> None:
    async def scene() -> None:
        pool = pool_of(Mint())
        token = await live_token(pool)
        assert [pool.record_throttled(token.token_id) for _ in range(3)] == [1, 2, 3]
        pool.record_success(token.token_id)
        assert pool.record_throttled(token.token_id) == 1
        assert pool.record_throttled("a token that is gone") == 1

    run_virtual(scene)


def test_permits_are_given_in_request_order() -> None:
    async def scene() -> None:
        pool, served = pool_of(Mint(), max_tokens=1, limits=SLOW), list[int]()

        async def ask(number: int) -> None:
            await acquired(pool, "submit")
            served.append(number)

        tasks = [asyncio.create_task(ask(number)) for number in range(8)]
        await asyncio.gather(*tasks)
        assert served == list(range(8))

    run_virtual(scene)


def test_waiter_for_one_call_does_not_delay_another_call() -> None:
    async def scene() -> None:
        pool = pool_of(Mint(), max_tokens=1, limits=SLOW)
        await acquired(pool, "submit")
        waiter = asyncio.create_task(acquired(pool, "submit"))
        await asyncio.sleep(0)
        began = now()
        await acquired(pool, "push")
        assert now() == began
        await waiter

    run_virtual(scene)


def test_cancelled_waiter_uses_no_permit() -> None:
    async def last_of(cancelled: int) -> float:
        pool = pool_of(Mint(), max_tokens=1, limits=SLOW)
        await acquired(pool, "submit")
        waiters = [asyncio.create_task(acquired(pool, "submit")) for _ in range(cancelled)]
        last = asyncio.create_task(acquired(pool, "submit"))
        await asyncio.sleep(5.0)
        for waiter in waiters:
            waiter.cancel()
        await last
        return now()

    assert run_virtual(last_of, 3) == pytest.approx(run_virtual(last_of, 0), abs=0.01)


def test_permit_after_the_deadline_is_refused_at_once() -> None:
    async def scene() -> None:
        pool = pool_of(Mint(), max_tokens=1, limits=SLOW)
        await acquired(pool, "submit")
        began = now()
        with pytest.raises(DeadlineExceeded) as refusal:
            await acquired(pool, "submit", deadline=began + 5.0)
        assert (now(), refusal.value.sent) == (began, "no")
        await acquired(pool, "submit", deadline=began + 11.0)
        assert now() > began + 5.0

    run_virtual(scene)


def test_permit_too_far_in_the_future_is_refused_at_once() -> None:
    async def scene() -> None:
        pool = pool_of(Mint(seconds=0.0), max_tokens=1)
        token = await live_token(pool)
        pool.start_cooldown(token.token_id, 301.0)
        with pytest.raises(WaitTooLong) as refusal:
            await acquired(pool, "push")
        assert (now(), refusal.value.seconds) == (0.0, 301.0)

    run_virtual(scene)


def test_closed_pool_refuses_permits_and_waiters() -> None:
    async def scene() -> None:
        pool = pool_of(Mint(), max_tokens=1, limits=SLOW)
        await acquired(pool, "submit")
        waiting = asyncio.create_task(acquired(pool, "submit"))
        await asyncio.sleep(1.0)
        await pool.aclose()
        await pool.aclose()
        with pytest.raises(ClientClosed):
            await acquired(pool, "push")
        with pytest.raises(ClientClosed):
            await waiting

    run_virtual(scene)


def test_pool_closed_during_a_mint_fails_its_waiters() -> None:
    async def scene() -> None:
        pool = pool_of(Mint(seconds=60.0))
        waiting = asyncio.create_task(acquired(pool, "push"))
        await asyncio.sleep(1.0)
        await pool.aclose()
        with pytest.raises(ClientClosed):
            await waiting
        assert now() == 1.0

    run_virtual(scene)


def test_status_of_a_pool_mints_and_adopts_nothing() -> None:
    class Untouchable(MemoryTokenStore):
        async def adopt(self, now: float) -> Sequence[Token]:
            raise AssertionError("adopted")

    async def scene() -> None:
        pool = pool_of(mint := Mint(), store=Untouchable())
        status = await pool.status()
        assert mint.asked == []
        assert (status.tokens, status.mints, status.next_mint_in) == ((), 0, 0.0)
        assert (status.mint_limit, status.mint_window) == (10, 1800.0)

    run_virtual(scene)


def test_status_has_age_and_remaining_life_of_tokens_and_next_mint_time() -> None:
    async def scene() -> None:
        pool = pool_of(Mint(seconds=0.0), limits=Limits.documented().replace(mint=(2, 1800.0)))
        token = await live_token(pool)
        await asyncio.sleep(100.0)
        status = await pool.status()
        (facts,) = status.tokens
        assert (facts.token_id, facts.age, facts.expires_in) == (token.token_id, 100.0, TOKEN_LIFE_SECONDS - 100.0)
        assert (facts.used_by, status.mints, status.next_mint_in) == ("this", 1, 0.0)
        await pool.grow()
        status = await pool.status()
        assert (len(status.tokens), status.mints) == (2, 2)
        assert status.next_mint_in == pytest.approx(MINT_WINDOW_SECONDS - 100.0)
        with pytest.raises(TokenBudgetExhausted):
            await pool.grow()
        await asyncio.sleep(status.next_mint_in + 0.001)
        assert (await pool.status()).next_mint_in == 0.0
        await pool.grow()

    run_virtual(scene)


def test_status_reports_that_the_server_refused_a_mint() -> None:
    async def scene() -> None:
        pool = pool_of(answering(RateLimited(retry_after=77.0)))
        with pytest.raises(TokenBudgetExhausted):
            await pool.grow()
        assert (await pool.status()).next_mint_in == pytest.approx(77.0, abs=1.0)

    run_virtual(scene)


def test_status_reports_a_missing_mint_limit() -> None:
    async def scene() -> None:
        limits = Limits(tuple(rule for rule in Limits.documented() if rule.name != "mint"))
        status = await pool_of(Mint(), limits=limits).status()
        assert (status.mint_limit, status.mint_window, status.next_mint_in) == (None, None, 0.0)

    run_virtual(scene)
