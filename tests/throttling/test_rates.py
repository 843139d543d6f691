"""The rate after rejections, under a limit lower than configured, and under limits that count differently."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import attrs
import pytest

from tests.campaign.crashing import Survivor
from tests.campaign.world import World, check_account, records
from tests.throttling.gateway import (
    End,
    Gateway,
    pass_all,
    run_journaled,
    run_on_swift_loop,
    run_with_sqlite_threads,
    throttled,
    world_behind,
)
from tests.virtual import most_in_window
from truecaller_async import Limits, RecordResult
from truecaller_async.models import Request
from truecaller_async.sandbox import SandboxSettings
from truecaller_async.tokens import SqliteTokenStore

LIMIT = 60
MINUTE = 60.0


def of_the_account(limits: Limits) -> Limits:
    """Return the same limits, each counting all tokens together."""
    return Limits(tuple(attrs.evolve(rule, scope="account") for rule in limits))


def share_refused(gateway: Gateway, since: float) -> float:
    """Return the share of the batches sent from this time on that were answered 429."""
    submits = [passage for passage in gateway.of("submit") if passage.came >= since]
    return sum(passage.status == 429 for passage in submits) / len(submits)


@pytest.mark.fault("F14")
@pytest.mark.usefixtures("small_batches")
def test_ten_refusals_in_a_row_have_no_effect_after_five_minutes() -> None:
    refusals: list[float] = []

    def rule(request: Request, now: float) -> End:
        if request.call != "submit" or now < 60.0 or len(refusals) == 10:
            return None
        refusals.append(now)
        return throttled()

    async def main() -> float:
        world, gateway = world_behind(rule, max_tokens=1)
        results, summary, fault = await world.run(records(1400))
        check_account(results, summary, world.state)
        assert fault is None
        assert summary.throttled == 10
        recovered = refusals[-1] + 5 * MINUTE
        assert recovered - refusals[0] < 8 * MINUTE
        return len([p for p in gateway.between(recovered, recovered + MINUTE) if p.call == "submit"]) / LIMIT

    assert run_on_swift_loop(main) >= 0.9


@pytest.mark.fault("F16")
def test_fault_free_run_of_100000_records_gets_no_refusal() -> None:
    async def main() -> None:
        world = World(max_tokens=4)
        results, summary, fault = await world.run(records(100_000))
        stats = world.state.stats()
        assert fault is None
        assert summary.delivered == len(results) == 100_000
        assert (stats.refused, stats.violations) == (0, {})
        assert stats.peaks["batch"] <= LIMIT

    run_on_swift_loop(main)


@pytest.mark.fault("F16")
@pytest.mark.usefixtures("small_batches")
def test_run_resumed_with_the_same_token_gets_no_refusal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The campaign is resumed three times in the minutes of one token, and the server counts all requests."""

    async def main() -> None:
        rows, journal, state = list(records(240)), Survivor(), World().state
        sent = list[float]()
        for drain_after in (15.0, 15.0, 15.0, None):
            world, gateway = world_behind(pass_all, state=state, max_tokens=1)
            world.client._shared.pool._state.store = SqliteTokenStore(tmp_path / "state.db", "account")
            _, summary, fault = await run_journaled(world, journal, rows, drain_after=drain_after)
            assert fault is None
            sent += [passage.came for passage in gateway.of("submit")]
        stats = state.stats()
        assert summary.delivered == 240
        assert stats.mints == 1
        assert (stats.refused, stats.violations) == (0, {})
        assert most_in_window(sent, MINUTE) == stats.peaks["batch"] <= LIMIT

    run_with_sqlite_threads(monkeypatch, main)


@pytest.mark.fault("F17")
@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize(("limit", "tokens"), [(60, 1), (20, 4)])
def test_with_half_of_the_assumed_limit_at_most_6_percent_are_refused(limit: int, tokens: int) -> None:
    async def main() -> None:
        believed = Limits.documented().replace(batch=(limit, MINUTE))
        true = Limits.documented().replace(batch=(limit // 2, MINUTE))
        world, gateway = world_behind(
            pass_all, settings=SandboxSettings(limits=true), limits=believed, max_tokens=tokens
        )
        results, summary, fault = await world.run(records(35 * limit * tokens))
        check_account(results, summary, world.state)
        assert fault is None
        assert gateway.of("submit")[-1].came >= 30 * MINUTE
        assert gateway.of("submit")[-1].came <= 50 * MINUTE
        assert share_refused(gateway, 5 * MINUTE) <= 0.06

    run_on_swift_loop(main)


@pytest.mark.fault("F18")
@pytest.mark.usefixtures("small_batches")
def test_server_that_counts_fixed_minutes_never_refuses() -> None:
    counted: Counter[tuple[str, int]] = Counter()

    def rule(request: Request, now: float) -> End:
        if request.call != "submit" or request.token is None:
            return None
        minute = request.token.reveal(), int(now // MINUTE)
        counted[minute] += 1
        return throttled() if counted[minute] > LIMIT else None

    async def main() -> None:
        world, _ = world_behind(rule, max_tokens=3)
        results, summary, fault = await world.run(records(2 * 3 * LIMIT * 5))
        check_account(results, summary, world.state)
        assert fault is None
        assert summary.throttled == 0
        assert max(counted.values()) >= LIMIT - 2

    run_on_swift_loop(main)


@pytest.mark.fault("F18")
@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("told", [True, False])
def test_configured_account_limit_is_respected_across_tokens(told: bool) -> None:
    """A client without this setting gets 429s: the server counts all tokens. Three tokens exist from the start."""

    async def main() -> None:
        together = of_the_account(Limits.documented())
        world, gateway = world_behind(
            pass_all,
            settings=SandboxSettings(limits=together),
            limits=together if told else Limits.documented(),
            max_tokens=3,
        )
        results = list[RecordResult]()
        async with world.client as client:
            for _ in range(3):
                await client.tokens.make()
            async with client.push_many(records(2 * LIMIT * 5)) as stream:
                results.extend([result async for result in stream])
        check_account(results, stream.summary, world.state)
        stats = world.state.stats()
        assert len({passage.token for passage in gateway.of("submit")}) == stats.mints == 3
        assert (stats.violations == {}) is told
        if told:
            times = [passage.came for passage in gateway.of("submit")]
            assert most_in_window(times, MINUTE) == stats.peaks["batch"] == LIMIT

    run_on_swift_loop(main)
