"""New tokens: not available, slow, or invalid."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any

import msgspec
import pytest

from tests.authentication.stages import record_events
from tests.campaign.world import World, check_account, record, records
from tests.throttling.gateway import (
    PORTAL,
    UNAVAILABLE,
    End,
    NoAnswer,
    Rule,
    pass_all,
    run_on_swift_loop,
    throttled,
    world_behind,
)
from tests.virtual import BASE
from truecaller_async import DecodeError, TokenBudgetExhausted
from truecaller_async.models import Answer, Request

WINDOW = 1836.0
"""Half an hour, plus the two per cent by which every window is extended."""


def now() -> float:
    return asyncio.get_running_loop().time()


async def spend_budget(world: World) -> float:
    """Record ten mints, one a minute, the last one now; return when the first leaves its window."""
    store = world.client._shared.pool._state.store
    for minutes in range(9, -1, -1):
        assert await store.claim_mint(10, WINDOW, BASE - 60.0 * minutes) == 0.0
    return WINDOW - 540.0


def on_mint(end: End) -> Rule:
    return lambda request, _: end if request.call == "mint" else None


@pytest.mark.fault("F06")
def test_campaign_with_spent_mint_budget_waits_for_first_free_slot() -> None:
    async def main() -> None:
        world, gateway = world_behind(pass_all)
        stages = record_events(world)
        slot = await spend_budget(world)
        results, summary, fault = await world.run(records(600))
        check_account(results, summary, world.state)
        assert fault is None
        assert summary.delivered == 600
        assert slot <= gateway.seen[0].came <= slot + 1.0
        assert gateway.seen[0].call == "mint"
        told = [0.0, *stages.times("token_budget.exhausted"), slot]
        gaps = [later - earlier for earlier, later in pairwise(told)]
        assert max(gaps) <= 61.0
        assert len(told) <= 2 + slot / 60.0 + 1

    run_on_swift_loop(main)


@pytest.mark.fault("F06")
def test_progress_reports_until_when_a_campaign_waits_for_a_token() -> None:
    async def main() -> None:
        world, _ = world_behind(pass_all)
        slot = await spend_budget(world)
        async with world.client, world.client.push_many(records(10)) as stream:
            await asyncio.sleep(60.0)
            until = stream.progress.waiting_until
            assert until is not None
            assert until.timestamp() - BASE == pytest.approx(slot, abs=1.0)
            assert [result.row async for result in stream] != []
            assert stream.progress.waiting_until is None

    run_on_swift_loop(main)


@pytest.mark.fault("F06")
def test_single_call_with_spent_mint_budget_reports_next_mint_time() -> None:
    async def main() -> None:
        world, gateway = world_behind(pass_all)
        slot = await spend_budget(world)
        async with world.client as client:
            for deadline in (None, 600.0):
                with pytest.raises(TokenBudgetExhausted) as refusal:
                    await client.calls.push(record(1), deadline=deadline)
                assert refusal.value.retry_at.timestamp() - BASE == pytest.approx(slot, abs=1.0)
            assert gateway.seen == []
            await client.calls.push(record(2), deadline=slot + 10.0)
        assert slot <= gateway.seen[0].came <= slot + 1.0

    run_on_swift_loop(main)


@pytest.mark.fault("F06")
@pytest.mark.parametrize(("retry_after", "wait"), [("120", 120.0), (None, 60.0)])
def test_server_without_tokens_is_not_asked_before_its_retry_time(retry_after: str | None, wait: float) -> None:
    async def main() -> None:
        world, gateway = world_behind(
            lambda request, now: throttled(retry_after) if request.call == "mint" and now < 1.0 else None
        )
        results, summary, fault = await world.run(records(600))
        check_account(results, summary, world.state)
        assert fault is None
        first, second = gateway.of("mint")[:2]
        assert wait <= second.came - first.went <= wait + 1.0
        assert summary.delivered == 600

    run_on_swift_loop(main)


@pytest.mark.fault("F08")
@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("end", [NoAnswer(), UNAVAILABLE, PORTAL], ids=["silent", "5xx", "html"])
def test_failing_token_endpoint_gets_one_request_at_a_time(end: End) -> None:
    trouble_at = 3.0

    async def main() -> None:
        world, gateway = world_behind(
            lambda request, now: end if request.call == "mint" and now > trouble_at else None, max_tokens=3
        )
        results, summary, fault = await world.run(records(240))
        check_account(results, summary, world.state)
        assert fault is None
        assert summary.delivered == 240
        assert gateway.most_open["mint"] == 1

    run_on_swift_loop(main)


@pytest.mark.fault("F08")
@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("end", [NoAnswer(), UNAVAILABLE, PORTAL], ids=["silent", "5xx", "html"])
def test_one_live_token_carries_a_campaign_while_no_other_can_be_made(end: End) -> None:
    def rule(request: Request, now: float) -> End:
        minted.append(now) if request.call == "mint" else None
        return end if request.call == "mint" and len(minted) > 1 else None

    minted: list[float] = []

    async def main() -> None:
        world, gateway = world_behind(rule)
        results, summary, fault = await world.run(records(240))
        check_account(results, summary, world.state)
        assert fault is None
        assert summary.delivered == 240
        assert gateway.of("submit")[-1].came < 120 * 1.05
        assert gateway.most_open["mint"] == 1
        assert len(gateway.of("mint")) <= 1 + 10

    run_on_swift_loop(main)


@pytest.mark.fault("F08")
@pytest.mark.usefixtures("small_batches")
def test_finished_campaign_does_not_wait_for_a_pending_mint() -> None:
    minted: list[float] = []

    def rule(request: Request, now: float) -> End:
        minted.append(now) if request.call == "mint" else None
        return NoAnswer() if request.call == "mint" and len(minted) > 1 else None

    async def main() -> None:
        world, gateway = world_behind(rule)
        await world.run(records(8))
        assert len(gateway.of("submit")) == 4
        assert now() < gateway.of("status")[-1].went + 1.0

    run_on_swift_loop(main)


@pytest.mark.fault("F08")
def test_fifty_calls_waiting_for_a_slow_mint_share_one_request() -> None:
    async def main() -> None:
        world, gateway = world_behind(pass_all, latency=(10.0, 12.0))
        async with world.client as client:
            pushes = (client.calls.push(record(number)) for number in range(1, 31))
            await asyncio.gather(*pushes, *(client.labels.list() for _ in range(20)))
        assert len(gateway.of("mint")) == gateway.most_open["mint"] == 1
        assert len(gateway.seen) == 51
        assert {passage.status for passage in gateway.seen} == {200}

    run_on_swift_loop(main)


NO_TOKENS: dict[str, Any] = {
    "no token": {},
    "another field": {"access_token": "a-token"},
    "empty": {"token": ""},
    "null": {"token": None},
    "a number": {"token": 7},
    "a list": {"token": ["a-token"]},
    "a bare string": "a-token",
    "a new line": {"token": "a-token\n"},
    "a header of its own": {"token": "a-token\r\nX-Injected: yes"},
    "a zero": {"token": "a\x00token"},
    "a space": {"token": "a token"},
    "beyond ASCII": {"token": "a-t\u00f6ken"},
    "too long": {"token": "t" * 5000},
}


@pytest.mark.fault("F10")
@pytest.mark.parametrize("body", NO_TOKENS.values(), ids=NO_TOKENS.keys())
def test_unusable_token_is_never_sent_in_a_header(body: object) -> None:
    async def main() -> None:
        end = Answer(200, {"content-type": "application/json"}, msgspec.json.encode(body))
        world, gateway = world_behind(on_mint(end))
        async with world.client as client:
            with pytest.raises(DecodeError) as refusal:
                await client.calls.push(record(1))
        assert {passage.call for passage in gateway.seen} == {"mint"}
        assert refusal.value.path == "$.token"
        assert "a-token" not in f"{refusal.value!r} {refusal.value.body}"

    run_on_swift_loop(main)


@pytest.mark.fault("F10")
def test_campaign_without_usable_token_ends_with_every_record_unsent() -> None:
    async def main() -> None:
        world, gateway = world_behind(on_mint(Answer(200, {}, b'{"token": "a\\r\\nb"}')))
        results, summary, fault = await world.run(records(600))
        assert isinstance(fault, DecodeError)
        assert len(results) == summary.unsent == 600
        assert {passage.call for passage in gateway.seen} == {"mint"}

    run_on_swift_loop(main)
