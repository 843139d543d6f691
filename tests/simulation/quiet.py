"""Define the scenario of one small campaign without faults, from which tests derive others."""

from __future__ import annotations

from tests.simulation.scenario import Campaign, Network, RowMixture, Scenario, Server
from truecaller_async import CampaignOptions, Limits, RetryPolicy
from truecaller_async.sandbox.faults.plan import FaultPlan

QUIET = Scenario(
    seed=1,
    server=Server(Limits.documented(), 3600.0, 0.5, 0.0, "whole", (), 1.0, FaultPlan(()), 0.0),
    network=Network((0.01, 0.02), 0.0, 10.0, 0.0, ()),
    limits=Limits.documented(),
    max_tokens=2,
    retry=RetryPolicy(),
    version="v2",
    campaigns=(
        Campaign(
            RowMixture(40, 10, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0), CampaignOptions(), 7, 0.0, 0.0, (), 0.0, "sqlite", ()
        ),
    ),
    calls=2,
    call_interval=1.0,
    clock_jumps=(),
    loop_blocks=(),
    port_delay=0.001,
    observer_failure_rate=0.0,
    process_ends=(),
)
"""Scenario without faults."""
