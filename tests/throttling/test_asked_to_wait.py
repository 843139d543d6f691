"""A 429 that names a delay: in seconds, as a date, or in an unreadable form."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest

from tests.campaign.world import World, check_account, record, records
from tests.throttling.gateway import End, Gateway, SeenRequest, pass_all, run_on_swift_loop, throttled, world_behind
from tests.virtual import BASE
from truecaller_async import RetryPolicy, WaitTooLong
from truecaller_async.models import Request
from truecaller_async.models.tokens import SentRequest
from truecaller_async.options import COOLDOWN_MAX_SECONDS
from truecaller_async.tokens import MemoryTokenStore

PATIENT = RetryPolicy(total=1000.0)
UNREADABLE = ["-5", "120.5", "soon", "", "\uff11\uff12\uff10", "1e3", "120, 60", "+7", "0x10", "Wed, 21 Oct 2015"]
JITTER = 1.1
HOLD = 60.0


class SlowStore(MemoryTokenStore):
    """Store that is slow to record a sent request; once, the token starts a cooldown meanwhile."""

    def __init__(self, hold_at: int) -> None:
        super().__init__()
        self.hold: Callable[[str, float], None] = lambda *_: None
        self.held_at: float | None = None
        self._left = hold_at

    def record_sent_request(self, request: SentRequest) -> asyncio.Task[None]:  # type: ignore[override]
        """Start the cooldown while the request is recorded."""

        async def record() -> None:
            await asyncio.sleep(0.1)
            self._left -= 1
            if self._left == 0:
                self.held_at = now()
                self.hold(request.token_id, HOLD)
            await asyncio.sleep(0.1)

        return asyncio.get_running_loop().create_task(record())


def now() -> float:
    return asyncio.get_running_loop().time()


def http_date(wall: float) -> str:
    return format_datetime(datetime.fromtimestamp(int(wall), UTC), usegmt=True)


def dated(skew: float, seconds: float, now: float) -> End:
    """Return a 429 of a server whose clock is wrong by `skew`, naming a time in so many seconds."""
    wall = BASE + now + skew
    return throttled(http_date(wall + seconds), date=http_date(wall))


def after(gateway: Gateway, refusal: SeenRequest) -> SeenRequest | None:
    """Return the next request with the throttled token."""
    later = [p for p in gateway.seen if p.token == refusal.token and p.came >= refusal.went]
    return min(later, key=lambda passage: passage.came, default=None)


def refusal_in(gateway: Gateway) -> SeenRequest:
    return next(passage for passage in gateway.seen if passage.status == 429)


async def one_push_after(end: End, seed: int = 0) -> float:
    """Return the wait of a single push whose first attempt got this answer."""
    ends = [end]
    world, gateway = world_behind(
        lambda request, _: ends.pop() if request.call == "push" and ends else None,
        max_tokens=1,
        retry=PATIENT,
        seed=seed,
    )
    async with world.client as client:
        await client.calls.push(record(1))
    first, second = gateway.of("push")
    return second.came - first.went


async def a_campaign_where(at: float, end: End, count: int = 1500) -> tuple[World, Gateway]:
    """Run a campaign with two tokens, one of which gets this answer at this time."""
    ends = [end]
    world, gateway = world_behind(
        lambda request, now: ends.pop() if request.call == "submit" and now >= at and ends else None, max_tokens=2
    )
    results, summary, fault = await world.run(records(count * 2))
    check_account(results, summary, world.state)
    assert fault is None
    assert summary.delivered == count * 2
    assert summary.throttled == 1
    return world, gateway


@pytest.mark.fault("F11")
@pytest.mark.parametrize("seconds", [0, 2, 20, 120])
def test_single_call_waits_for_retry_after_and_at_most_a_tenth_more(seconds: int) -> None:
    assert seconds <= run_on_swift_loop(one_push_after, throttled(str(seconds))) <= seconds * JITTER + 0.001


@pytest.mark.fault("F11")
@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("seconds", [2, 30])
def test_throttled_token_sends_nothing_meanwhile_and_the_others_continue(seconds: int) -> None:
    async def main() -> None:
        _, gateway = await a_campaign_where(10.0, throttled(str(seconds)), 100)
        refusal = refusal_in(gateway)
        following = after(gateway, refusal)
        assert following is not None
        assert seconds <= following.came - refusal.went <= seconds * JITTER + 1.1
        others = {p.token for p in gateway.between(refusal.went, refusal.went + seconds) if p.call == "submit"}
        assert len(others) == 1
        assert refusal.token not in others

    run_on_swift_loop(main)


@pytest.mark.fault("F12")
@pytest.mark.parametrize("skew", [-3600.0, 0.0, 3600.0])
def test_retry_date_is_measured_by_the_server_clock(skew: float) -> None:
    async def main() -> float:
        moments: list[float] = []

        def rule(request: Request, now: float) -> End:
            if request.call != "push" or moments:
                return None
            moments.append(now)
            return dated(skew, 30.0, now)

        world, gateway = world_behind(rule, max_tokens=1)
        async with world.client as client:
            await client.calls.push(record(1))
        first, second = gateway.of("push")
        return second.came - first.went

    assert 29.0 <= run_on_swift_loop(main) <= 31.0 * JITTER


@pytest.mark.fault("F12")
@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("skew", [-3600.0, 3600.0])
def test_campaign_waits_for_a_retry_date_by_the_server_clock(skew: float) -> None:
    async def main() -> None:
        _, gateway = await a_campaign_where(10.0, dated(skew, 30.0, 10.0), 100)
        refusal = refusal_in(gateway)
        following = after(gateway, refusal)
        assert following is not None
        assert 29.0 <= following.came - refusal.went <= 31.0 * JITTER + 1.1

    run_on_swift_loop(main)


@pytest.mark.fault("F13")
@pytest.mark.parametrize("value", UNREADABLE)
def test_unreadable_retry_after_is_replaced_by_own_backoff(value: str) -> None:
    assert 0.0 <= run_on_swift_loop(one_push_after, throttled(value)) <= 1.0


@pytest.mark.fault("F13")
@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("value", UNREADABLE)
def test_campaign_continues_after_an_unreadable_retry_after(value: str) -> None:
    async def main() -> None:
        _, gateway = await a_campaign_where(2.0, throttled(value), 20)
        refusal = refusal_in(gateway)
        following = after(gateway, refusal)
        assert following is not None
        assert following.came - refusal.went <= 30.0

    run_on_swift_loop(main)


@pytest.mark.fault("F13")
@pytest.mark.parametrize("value", ["301", "86400", "99999999999", "9" * 400])
def test_single_call_fails_at_once_if_the_wait_is_too_long(value: str) -> None:
    async def main() -> None:
        began = now()
        with pytest.raises(WaitTooLong) as refusal:
            await one_push_after(throttled(value))
        assert now() - began < 1.0
        assert refusal.value.seconds > refusal.value.allowed == COOLDOWN_MAX_SECONDS

    run_on_swift_loop(main)


@pytest.mark.fault("F13")
@pytest.mark.parametrize("seed", range(3))
def test_longest_allowed_wait_is_waited_out_with_any_jitter(seed: int) -> None:
    assert (
        COOLDOWN_MAX_SECONDS
        <= run_on_swift_loop(one_push_after, throttled("300"), seed)
        <= COOLDOWN_MAX_SECONDS + 0.001
    )


@pytest.mark.fault("F13")
@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("value", ["99999999999", "9" * 400])
def test_token_with_endless_retry_after_is_benched_and_the_other_finishes(value: str) -> None:
    async def main() -> None:
        _, gateway = await a_campaign_where(10.0, throttled(value), 100)
        assert after(gateway, refusal_in(gateway)) is None
        assert now() < 200.0

    run_on_swift_loop(main)


@pytest.mark.fault("F11")
@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("nth", [1, 10])
def test_cooldown_set_between_permit_and_request_is_respected(nth: int) -> None:
    """The store is slow to record the request, and meanwhile the token gets a cooldown of a minute."""

    async def main() -> None:
        world, gateway = world_behind(pass_all, max_tokens=1)
        store = SlowStore(nth)
        pool = world.client._shared.pool
        pool._state.store, store.hold = store, pool.start_cooldown
        results, summary, fault = await world.run(records(60))
        check_account(results, summary, world.state)
        assert fault is None
        assert summary.delivered == 60
        assert store.held_at is not None
        assert gateway.between(store.held_at, store.held_at + HOLD) == []
        assert len(gateway.of("submit")) == 30

    run_on_swift_loop(main)
