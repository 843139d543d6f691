"""Windows that close while a record waits to be sent."""

from __future__ import annotations

import pytest

from tests.campaign.world import World, check_account, record, records
from tests.virtual import run_virtual
from truecaller_async import CampaignOptions, Limits, Outcome

MARGIN = 60.0
LATENCY = 0.05
WINDOW_HOURS = 600 / 3600


@pytest.mark.fault("F45")
@pytest.mark.parametrize("margin", [MARGIN, 5.0])
def test_nothing_is_sent_shortly_before_its_window_closes(margin: float) -> None:
    async def main() -> None:
        world = World(limits=Limits.documented().replace(batch=(3, 60.0)), max_tokens=1)
        options = CampaignOptions(expiry_margin=margin)
        results, summary, fault = await world.run(records(20_000, hours=WINDOW_HOURS), options)
        check_account(results, summary, world.state)
        assert fault is None
        assert summary.delivered + summary.expired == 20_000
        assert 12_000 < summary.delivered < 16_000
        assert all(result.attempts == 0 for result in results if result.outcome is Outcome.EXPIRED)
        left = [(entry.ends_at or 0) / 1000 - entry.applied_at for entry in world.state.truth(0, 20_000)]
        assert min(left) >= margin - LATENCY

    run_virtual(main)


@pytest.mark.fault("F45")
def test_records_are_rechecked_before_a_resend() -> None:
    """A batch that was rejected for two minutes has records whose window closed meanwhile."""

    async def main() -> None:
        world = World(fault=lambda request, count, _: "429:120" if (request.call, count) == ("submit", 1) else None)
        closing = [record(number, hours=150 / 3600) for number in range(1, 101)]
        results, summary, fault = await world.run([*closing, *(record(number) for number in range(101, 501))])
        check_account(results, summary, world.state)
        assert fault is None
        assert (summary.expired, summary.delivered) == (100, 400)
        assert all((entry.ends_at or 0) / 1000 > entry.applied_at for entry in world.state.truth(0, 1_000))

    run_virtual(main)
