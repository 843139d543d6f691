"""Tokens that the server rejects: one, each, or all of them permanently."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from tests.campaign.crashing import Survivor
from tests.campaign.world import World, applications, check_account, record, records
from tests.throttling.gateway import (
    FORBIDDEN,
    REFUSED_TOKEN,
    UNAVAILABLE,
    UNPARSED_TOKEN,
    Gateway,
    pass_all,
    run_journaled,
    run_on_swift_loop,
    world_behind,
)
from truecaller_async import (
    AuthenticationFailed,
    CallRecord,
    CampaignOptions,
    Forbidden,
    Limits,
    Outcome,
    PollPolicy,
    RetryPolicy,
)
from truecaller_async.models import Answer, Request
from truecaller_async.sandbox import SandboxSettings

TOKEN_LIFE = 120.0
WIDE = Limits.documented().replace(token=(100_000, 1.0), batch=(100_000, 1.0))
"""Limits under which fifty requests are sent at once."""

DYING = SandboxSettings(limits=WIDE, token_life=TOKEN_LIFE)


def now() -> float:
    return asyncio.get_running_loop().time()


def storm_of(gateway: Gateway, call: str) -> tuple[int, float]:
    """Return the rejected requests of this call, and the time from the first to the first good one."""
    refused = [passage for passage in gateway.of(call) if passage.status == 401]
    good = [passage for passage in gateway.of(call) if passage.status == 200 and passage.went > refused[0].went]
    return len(refused), good[0].went - refused[0].went


@pytest.mark.fault("F01")
@pytest.mark.parametrize("call", ["push", "status"])
def test_refused_token_on_fifty_tasks_costs_one_mint_and_two_seconds(call: str) -> None:
    async def main() -> None:
        world, gateway = world_behind(pass_all, settings=DYING)
        client = world.client
        async with client:
            batch = await client.batches.submit([record(1)])
            await asyncio.sleep(TOKEN_LIFE + 1)
            if call == "push":
                await asyncio.gather(*(client.calls.push(record(number)) for number in range(2, 52)))
            else:
                await asyncio.gather(*(client.batches.status(batch.batch_id) for _ in range(50)))
        refused, seconds = storm_of(gateway, call)
        assert refused == 50
        assert world.state.stats().mints == 2
        assert seconds < 2.0
        if call == "push":
            assert set(applications(world.state).values()) == {1}

    run_on_swift_loop(main)


@pytest.mark.fault("F01")
@pytest.mark.usefixtures("small_batches")
def test_token_expiring_under_fifty_batches_costs_one_mint_and_no_flag() -> None:
    async def rows() -> AsyncIterator[CallRecord]:
        for row in records(2):
            yield row
        await asyncio.sleep(TOKEN_LIFE + 1)
        for number in range(3, 103):
            yield record(number)

    async def main() -> None:
        world, gateway = world_behind(pass_all, settings=DYING, latency=(0.3, 0.4))
        results, summary, fault = await world.run(rows())
        check_account(results, summary, world.state)
        refused, seconds = storm_of(gateway, "submit")
        assert fault is None
        assert refused == 50
        assert summary.delivered == 102
        assert summary.possibly_duplicated == 0
        assert world.state.stats().mints == 2
        assert set(applications(world.state).values()) == {1}
        assert seconds < 2.0

    run_on_swift_loop(main)


@pytest.mark.fault("F01")
@pytest.mark.usefixtures("small_batches")
def test_token_expiring_every_two_seconds_costs_one_mint_each() -> None:
    async def main() -> None:
        limits = Limits.documented().replace(mint=(1000, 1800.0))
        world, gateway = world_behind(pass_all, settings=SandboxSettings(limits=limits, token_life=2.0), max_tokens=1)
        often = CampaignOptions(poll=PollPolicy(first=0.5, cap=1.0))
        results, summary, fault = await world.run(records(80), often)
        check_account(results, summary, world.state)
        deaths = {passage.token for passage in gateway.seen if passage.status == 401}
        assert fault is None
        assert summary.delivered == 80
        assert summary.possibly_duplicated == 0
        assert len(deaths) >= 10
        assert world.state.stats().mints == len(deaths) + 1

    run_on_swift_loop(main)


@pytest.mark.fault("F01")
def test_poll_with_refused_token_is_repeated_within_two_seconds() -> None:
    async def main() -> None:
        settings = SandboxSettings(token_life=TOKEN_LIFE, resolve_after=600.0)
        world, gateway = world_behind(pass_all, settings=settings)
        results, summary, fault = await world.run(records(1500))
        check_account(results, summary, world.state)
        assert fault is None
        assert summary.delivered == 1500
        deaths = [passage for passage in gateway.of("status") if passage.status == 401]
        assert len({passage.token for passage in deaths}) >= 4
        for death in deaths:
            assert any(death.went <= passage.came < death.went + 2.0 for passage in gateway.of("status"))

    run_on_swift_loop(main)


@pytest.mark.fault("F02")
def test_revoked_key_stops_campaign_after_a_minute_and_new_key_resumes_it() -> None:
    """Tokens are made and each is rejected: the run waits as in an outage, and stops cleanly."""
    rows, journal, keys = list(records(3000)), Survivor(), ["revoked"]

    def rule(request: Request, now: float) -> Answer | None:
        return REFUSED_TOKEN if keys == ["revoked"] and request.call != "mint" else None

    async def revoked() -> World:
        world, _ = world_behind(rule)
        results, summary, fault = await run_journaled(world, journal, rows)
        assert isinstance(fault, AuthenticationFailed)
        assert RetryPolicy().total <= now() < RetryPolicy().total + 5.0
        assert len(results) == summary.unsent == 3000
        return world

    async def mended(before: World) -> None:
        keys[:] = ["good"]
        world, _ = world_behind(rule, state=before.state)
        results, summary, fault = await run_journaled(world, journal, rows)
        assert fault is None
        assert sum(result.outcome is Outcome.DELIVERED for result in results) == summary.delivered == 3000
        assert summary.possibly_duplicated == 0
        assert set(applications(world.state).values()) == {1}

    run_on_swift_loop(mended, run_on_swift_loop(revoked))


@pytest.mark.fault("F02")
@pytest.mark.parametrize("rows", [400, 3000])
def test_revoked_key_costs_four_mints_for_any_amount_of_work(rows: int) -> None:
    """Two at once, then one each 30 s."""

    async def main() -> None:
        world, gateway = world_behind(lambda request, _: None if request.call == "mint" else REFUSED_TOKEN)
        _, _, fault = await world.run(records(rows))
        assert isinstance(fault, AuthenticationFailed)
        assert len(gateway.of("mint")) <= 4

    run_on_swift_loop(main)


@pytest.mark.fault("F02")
def test_key_that_mints_no_token_is_tried_once() -> None:
    async def main() -> None:
        world, gateway = world_behind(lambda request, _: REFUSED_TOKEN if request.call == "mint" else None)
        results, summary, fault = await world.run(records(1000))
        assert isinstance(fault, AuthenticationFailed)
        assert now() < 5.0
        assert summary.unsent == len(results) == 1000
        assert [passage.call for passage in gateway.seen] == ["mint"]

    run_on_swift_loop(main)


@pytest.mark.fault("F03")
@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("replaceable", [True, False])
def test_revoking_one_of_four_tokens_leaves_three_working(replaceable: bool) -> None:
    revoked_at = 12.0
    victims: list[str] = []

    def rule(request: Request, now: float) -> Answer | None:
        if request.call == "mint":
            return UNAVAILABLE if now > revoked_at and not replaceable else None
        token = request.token.reveal() if request.token is not None else ""
        if now > revoked_at and not victims:
            victims.append(token)
        return REFUSED_TOKEN if token in victims else None

    async def main() -> None:
        world, gateway = world_behind(rule, max_tokens=4)
        results, summary, fault = await world.run(records(240))
        check_account(results, summary, world.state)
        assert fault is None
        assert summary.delivered == 240
        assert summary.possibly_duplicated == 0
        for since in (revoked_at, revoked_at + 5.0):
            taken = [p for p in gateway.between(since, since + 5.0) if p.call == "submit" and p.status == 200]
            assert len(taken) / 5.0 >= 0.7 * 4
        assert sum(passage.status == 401 for passage in gateway.seen) <= 4

    run_on_swift_loop(main)


@pytest.mark.fault("F04")
@pytest.mark.parametrize("call", ["mint", "submit", "status"])
def test_403_ends_a_campaign_at_once_and_mints_no_token(call: str) -> None:
    async def main() -> None:
        world, gateway = world_behind(lambda request, _: FORBIDDEN if request.call == call else None)
        results, summary, fault = await world.run(records(400))
        assert isinstance(fault, Forbidden)
        assert len(results) == summary.read
        assert len(gateway.of("mint")) == 1
        assert gateway.of(call)[-1].went - gateway.of(call)[0].went < 5.0

    run_on_swift_loop(main)


@pytest.mark.fault("F04")
@pytest.mark.parametrize("call", ["push", "submit", "status"])
def test_403_is_raised_at_once_from_a_single_call(call: str) -> None:
    async def main() -> None:
        world, gateway = world_behind(lambda request, _: FORBIDDEN if request.call == call else None)
        async with world.client as client:
            calls: dict[str, Callable[[], Awaitable[object]]] = {
                "push": lambda: client.calls.push(record(1)),
                "submit": lambda: client.batches.submit([record(1)]),
                "status": lambda: client.batches.status("b-1"),
            }
            with pytest.raises(Forbidden):
                await calls[call]()
        assert [passage.call for passage in gateway.seen] == ["mint", call]

    run_on_swift_loop(main)


@pytest.mark.fault("F05")
@pytest.mark.parametrize("call", ["submit", "status"])
def test_500_on_token_parsing_costs_a_mint_and_is_not_ambiguous(call: str) -> None:
    def rule(request: Request, now: float) -> Answer | None:
        first = request.token is not None and request.token.reveal() == victims.setdefault(
            "first", request.token.reveal()
        )
        return UNPARSED_TOKEN if request.call == call and first else None

    victims: dict[str, str] = {}

    async def main() -> None:
        world, gateway = world_behind(rule, max_tokens=1)
        results, summary, fault = await world.run(records(2000))
        check_account(results, summary, world.state)
        assert fault is None
        assert summary.delivered == 2000
        assert not any(result.possibly_duplicated for result in results)
        assert set(applications(world.state).values()) == {1}
        assert len(gateway.of("mint")) == 2

    run_on_swift_loop(main)


@pytest.mark.fault("F05")
def test_unparsable_fresh_tokens_stop_a_campaign_like_a_refused_key() -> None:
    async def main() -> None:
        world, gateway = world_behind(lambda request, _: UNPARSED_TOKEN if request.call == "submit" else None)
        results, summary, fault = await world.run(records(400))
        assert isinstance(fault, AuthenticationFailed)
        assert summary.unsent == len(results)
        assert not any(result.possibly_duplicated for result in results)
        assert len(gateway.of("mint")) == 4

    run_on_swift_loop(main)


@pytest.mark.fault("F05")
def test_one_attempt_uses_one_token_without_retries() -> None:
    async def main() -> None:
        world, gateway = world_behind(lambda request, _: UNPARSED_TOKEN if request.call == "push" else None)
        async with world.client as client:
            with pytest.raises(AuthenticationFailed) as refusal:
                await client.with_options(retry=RetryPolicy(attempts=1)).calls.push(record(1))
        assert refusal.value.status == 500
        assert [passage.call for passage in gateway.seen] == ["mint", "push"]

    run_on_swift_loop(main)
