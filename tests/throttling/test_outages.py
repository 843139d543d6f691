"""A server that fails for minutes or an hour: requests during the outage, and the time to recover.

The gateway counts the requests. The same run without faults gives the number of requests without retries.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from random import Random

import pytest

from tests.campaign.world import World, applications, check_account, record, records
from tests.throttling.conftest import make_batches_small
from tests.throttling.gateway import (
    UNAVAILABLE,
    AppliedThen,
    End,
    Gateway,
    NoAnswer,
    Rule,
    pass_all,
    run_on_swift_loop,
    throttled,
    world_behind,
)
from truecaller_async import CampaignOptions, NotSent, Outcome, RecordResult, ResponseLost, Summary, TruecallerError
from truecaller_async.models import Answer, Request
from truecaller_async.resilience.service_guard import Grant

MINUTE = 60.0
HOUR = 3600.0
ROWS, UNRESOLVED = 600, 60
BEGIN = 50.0
"""Start of the outages: within a minute of the limit, so that accepted batches wait for their polls."""
PHASES = [0.0, 11.0, 23.0]
"""Seconds by which the end of an outage falls between two probes that are 30 seconds apart."""

A_MINUTE_OF_A_TOKEN = 60
"""Batches that the limits allow one token in a minute."""
ANSWERS_TO_OPEN = 20
"""Bad answers after which the breaker is open."""
IN_FLIGHT_THEN = 7
"""Further requests in flight at that moment: one token sends so many when its cooldown ends."""
FIVE_HUNDREDS = [
    Answer(status, {"content-type": "text/html"}, b"<html>sorry</html>") for status in (500, 502, 503, 504)
]
REFUSED = NotSent("connection refused")


def during(seconds: float, end: End, *calls: str, share: float = 1.0, seed: int = 3) -> Rule:
    """Give this answer to a share of these calls, from `BEGIN` on, for so many seconds."""
    dice = Random(seed)

    def rule(request: Request, now: float) -> End:
        struck = BEGIN <= now < BEGIN + seconds and (not calls or request.call in calls)
        return end if struck and dice.random() < share else None

    return rule


async def campaign(
    rule: Rule, batches: int, options: CampaignOptions | None = None, max_tokens: int = 1
) -> tuple[Gateway, World, list[RecordResult], Summary]:
    world, gateway = world_behind(rule, max_tokens=max_tokens)
    results, summary, fault = await world.run(records(2 * batches), options)
    check_account(results, summary, world.state)
    assert fault is None
    return gateway, world, results, summary


def first_good(gateway: Gateway, after: float) -> float:
    """Return the seconds from this time to the first good answer."""
    return min(passage.went for passage in gateway.seen if passage.went > after and passage.status == 200) - after


def rate_after(gateway: Gateway, over: float, tokens: int) -> float:
    """Return the share of the permitted batches in the first minute after the first good answer."""
    again = over + first_good(gateway, over)
    taken = [p for p in gateway.between(again, again + MINUTE) if p.call == "submit" and p.status == 200]
    return len(taken) / (A_MINUTE_OF_A_TOKEN * tokens)


@pytest.mark.fault("F15")
@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize(
    ("end", "seconds"), [(throttled(), 5 * MINUTE), (throttled("5"), 4.6 * MINUTE)], ids=["bare", "retry-after"]
)
def test_storm_of_429_is_met_with_one_probe_per_ten_seconds(end: Answer, seconds: float, phase: float) -> None:
    storm = seconds + phase

    async def main() -> None:
        gateway, _, results, summary = await campaign(during(storm, end), 600, max_tokens=4)
        asked = gateway.between(BEGIN, BEGIN + storm)
        assert len(asked) <= ANSWERS_TO_OPEN + IN_FLIGHT_THEN + storm / 10.0
        assert summary.delivered == len(results) == 1200
        assert summary.possibly_duplicated == 0
        assert first_good(gateway, BEGIN + storm) <= 30.0
        assert rate_after(gateway, BEGIN + storm, 4) >= 0.8

    run_on_swift_loop(main)


@pytest.mark.fault("F19")
@pytest.mark.usefixtures("small_batches")
def test_failing_third_of_polls_for_ten_minutes_gives_no_wrong_outcome() -> None:
    async def main() -> None:
        dice = Random(5)
        trouble = during(10 * MINUTE, UNAVAILABLE, "status", share=0.3)
        gateway, world, results, summary = await campaign(
            lambda request, now: dice.choice(FIVE_HUNDREDS) if trouble(request, now) else None, 600
        )
        assert summary.delivered == len(results) == 1200
        assert sum(passage.tampered for passage in gateway.seen) > 100
        sent = gateway.between(0.0, BEGIN + 10 * MINUTE)
        again = sum(passage.again for passage in sent)
        leaves = world.client._shared.executor.guard.grant_counts
        first, probes, free = leaves[Grant.FIRST], leaves[Grant.PROBE], leaves[Grant.FREE_RETRY]
        assert again <= 0.10 * first + 10 + probes + free
        assert probes <= 150
        assert free <= 50

    run_on_swift_loop(main)


@pytest.mark.fault("F20")
@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("policy", ["resend", "hold"])
def test_5xx_on_half_of_the_batches_is_never_reported_as_failed(seed: int, policy: str) -> None:
    dice = Random(seed)

    def rule(request: Request, now: float) -> End:
        if request.call != "submit" or dice.random() < 0.5:
            return None
        page = dice.choice(FIVE_HUNDREDS)
        return page if dice.random() < 0.5 else AppliedThen(page)

    async def main() -> None:
        options = CampaignOptions(on_ambiguous="resend" if policy == "resend" else "hold")
        _, world, results, summary = await campaign(rule, 100, options)
        took_effect = applications(world.state)
        sends = {result.record.receiver: result for result in results if result.record is not None}
        assert summary.failed == 0
        assert set(took_effect) <= set(sends)
        for receiver, result in sends.items():
            applied = took_effect[receiver]
            assert applied <= result.attempts
            assert applied <= 1 or result.possibly_duplicated
            assert applied <= (1 if policy == "hold" else 3)
        assert Counter(result.outcome for result in results).keys() <= {Outcome.DELIVERED, Outcome.UNKNOWN}
        assert (summary.possibly_duplicated > 0) is (policy == "resend")

    run_on_swift_loop(main)


@pytest.mark.fault("F21")
@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize(
    ("end", "calls"),
    [(UNAVAILABLE, ()), (REFUSED, ()), (NoAnswer(), ()), (throttled(), ("submit", "status"))],
    ids=["5xx", "refused", "silent", "429"],
)
def test_hour_of_outage_costs_200_requests_and_recovers_in_35_seconds(end: End, calls: tuple[str, ...]) -> None:
    options = CampaignOptions(max_unresolved=UNRESOLVED)
    read_ahead = 0

    async def main() -> None:
        nonlocal read_ahead
        world, gateway = world_behind(during(HOUR, end, *calls), max_tokens=2)
        given = 0

        def rows() -> object:
            nonlocal read_ahead
            for read, row in enumerate(records(ROWS), 1):
                read_ahead = max(read_ahead, read - given)
                yield row

        results = []
        async with world.client, world.client.push_many(rows(), options=options) as stream:
            async for result in stream:
                given += 1
                results.append(result)
        check_account(results, stream.summary, world.state)
        assert len(gateway.between(BEGIN, BEGIN + HOUR)) <= 200
        assert first_good(gateway, BEGIN + HOUR) <= 35.0
        assert read_ahead <= UNRESOLVED + 1
        assert stream.summary.failed == 0
        assert stream.summary.unknown <= 10
        assert stream.summary.unknown + stream.summary.delivered == ROWS

    run_on_swift_loop(main)


@pytest.mark.fault("F21")
@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("end", [UNAVAILABLE, REFUSED], ids=["5xx", "refused"])
def test_rate_recovers_in_the_first_minute_after_an_outage(end: End, phase: float) -> None:
    over = BEGIN + 10 * MINUTE + phase

    async def main() -> None:
        gateway, _, results, summary = await campaign(
            during(over - BEGIN, end), 300, CampaignOptions(max_unresolved=300), max_tokens=2
        )
        assert first_good(gateway, over) <= 35.0
        assert rate_after(gateway, over, 2) >= 0.8
        assert summary.delivered == len(results) == 600

    run_on_swift_loop(main)


OUTAGES: dict[str, tuple[float, End, tuple[str, ...]]] = {
    "a third of all": (0.3, UNAVAILABLE, ()),
    "half of all": (0.5, UNAVAILABLE, ()),
    "all": (1.0, UNAVAILABLE, ()),
    "half of the submits": (0.5, UNAVAILABLE, ("submit",)),
    "all submits": (1.0, UNAVAILABLE, ("submit",)),
    "half of the polls": (0.5, ResponseLost("the connection broke"), ("status",)),
    "all polls": (1.0, UNAVAILABLE, ("status",)),
    "half are not sent": (0.5, REFUSED, ()),
    "none is sent": (1.0, REFUSED, ()),
}


@pytest.fixture(scope="module")
def good_day() -> list[float]:
    """Return the request times of a campaign of four minutes without faults."""
    with pytest.MonkeyPatch.context() as patch:
        make_batches_small(patch)
        gateway, *_ = run_on_swift_loop(campaign, pass_all, 250)
    return [passage.came for passage in gateway.seen]


@pytest.mark.fault("F21")
@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize(("share", "end", "calls"), OUTAGES.values(), ids=OUTAGES.keys())
def test_outage_adds_at_most_a_tenth_plus_probes_to_a_campaign(
    share: float, end: End, calls: tuple[str, ...], good_day: list[float]
) -> None:
    """Counted are the requests until the end of the outage; later ones make up for it.

    A failed probe is followed by ten seconds without one. If a share of the requests fails, there are 1 / share probes
    in ten seconds.
    """
    outage = 3 * MINUTE
    over = BEGIN + outage

    async def main() -> int:
        gateway, _, _, summary = await campaign(
            during(outage, end, *calls, share=share), 250, CampaignOptions(max_unresolved=100)
        )
        assert summary.failed == 0
        return len(gateway.between(0.0, over))

    first_attempts = sum(came < over for came in good_day)
    probes = outage / 10.0 / share
    sent = run_on_swift_loop(main)
    assert sent <= 1.10 * first_attempts + 10 + probes


@pytest.mark.fault("F21")
@pytest.mark.parametrize("share", [0.3, 0.5, 1.0])
def test_outage_adds_at_most_a_tenth_plus_probes_to_single_calls(share: float) -> None:
    calls = 500

    async def main() -> tuple[int, float]:
        world, gateway = world_behind(during(10 * HOUR, UNAVAILABLE, "status", share=share))
        async with world.client as client:
            batch = await client.batches.submit([record(1)])
            await asyncio.sleep(BEGIN)
            for _ in range(calls):
                with contextlib.suppress(TruecallerError):
                    await client.batches.status(batch.batch_id)
        return len(gateway.of("status")), asyncio.get_running_loop().time() - BEGIN

    sent, seconds = run_on_swift_loop(main)
    assert sent <= 1.10 * calls + 10 + seconds / 10.0 / share
