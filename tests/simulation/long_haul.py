"""A campaign of 51 hours: 10 tokens that may send 2 batches in 48 minutes each.

For one hour the server has only errors, for ten minutes there is no network. Answers are lost or late, and status and
token requests fail now and then. Every token is renewed more than 50 times.
"""

from __future__ import annotations

from tests.simulation.scenario import Campaign, Network, RowMixture, Scenario, Server
from truecaller_async import CampaignOptions, Limits, RetryPolicy
from truecaller_async.sandbox.faults.plan import Fault, FaultPlan

HOUR = 3600.0
ROWS = 16_200
FAULTS = FaultPlan(
    (
        Fault(call="*", do=("503",), since=10 * HOUR, until=11 * HOUR),
        Fault(call="batch.submit", do=("apply", "reset"), probability=0.02),
        Fault(call="batch.status", do=("502",), probability=0.05),
        Fault(call="token", do=("reset",), probability=0.1),
    ),
    seed=55,
)


def long_haul() -> Scenario:
    """Return the scenario. Its windows open two days after its start."""
    limits = Limits.documented().replace(batch=(1, 1440.0))
    mixture = RowMixture(ROWS, None, 0.0, 0.001, 0.0, 0.0, 0.0, 0.05, windows_open_after=54 * HOUR)
    return Scenario(
        seed=55,
        server=Server(limits, HOUR, 20.0, 5.0, "whole", (), 1.0, FAULTS, 0.0),
        network=Network((0.01, 0.2), 0.01, 60.0, 0.01, ((30 * HOUR, 30 * HOUR + 600.0),)),
        limits=limits,
        max_tokens=10,
        retry=RetryPolicy(),
        version="v2",
        campaigns=(Campaign(mixture, CampaignOptions(), 10, 0.0, 0.0, (), 0.0, "none", ()),),
        calls=0,
        call_interval=1.0,
        clock_jumps=(),
        loop_blocks=(),
        port_delay=0.0,
        observer_failure_rate=0.0,
        process_ends=(),
    )
