"""Define the fate of one small campaign without faults, from which tests derive others."""

from __future__ import annotations

from tests.simulation.fate import Campaign, Fate, Mixture, Network, Server
from truecaller_async import CampaignOptions, Limits, RetryPolicy
from truecaller_async.sandbox.faults.plan import FaultPlan

QUIET = Fate(
    seed=1,
    server=Server(Limits.documented(), 3600.0, 0.5, 0.0, "whole", (), 1.0, FaultPlan(()), 0.0),
    network=Network((0.01, 0.02), 0.0, 10.0, 0.0, ()),
    limits=Limits.documented(),
    max_tokens=2,
    retry=RetryPolicy(),
    version="v2",
    campaigns=(
        Campaign(Mixture(40, 10, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0), CampaignOptions(), 7, 0.0, 0.0, (), 0.0, "sqlite", ()),
    ),
    calls=2,
    every=1.0,
    jumps=(),
    blocks=(),
    hesitation=0.001,
    blind=0.0,
    endings=(),
)
"""A day on which nothing happens."""
