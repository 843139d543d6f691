"""Campaign without errors: used share of the permitted rate, and violations.

The share is the number of batches between the first and the last one, divided by the number that all tokens could have
sent in that time; the first batch of each token is omitted, because it starts the count. It is computed twice: by the
client's own summary, which is at most 1, and with the clock of the sandbox, which does not know the client's rate law.
A token can start with a small burst within its limit, so a short run can be slightly above 1. Requests over a limit are
counted as violations, and none is allowed.

Over HTTP the limits are the documented ones with a minute in six seconds, so that a round takes seconds and the rate is
ten times harder to keep. On the virtual clock they are the documented ones; all runs must be identical, and the
elapsed real time is shown without a target.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from statistics import median
from time import perf_counter

import attrs

from benchmarks import Figure, at_most, exactly, share
from benchmarks.server import records, sandbox
from tests.campaign.world import World
from tests.campaign.world import records as virtual_records
from tests.virtual import run_virtual
from truecaller_async import Limits, Summary, TruecallerClient
from truecaller_async.resilience.rate_law import calls_per_second
from truecaller_async.sandbox import SandboxSettings, Stats

TOKENS = 10
RECORDS = 100_000
RECORDS_MIN = 20_000
"""Minimum: fewer than four batches per token say nothing about a rate."""

FAST = Limits.documented().replace(batch=(60, 6.0))
RESOLVE_AFTER = 1.0
SHARE_HTTP = 0.95
SHARE_VIRTUAL = 0.97
VIRTUAL_COUNTS = (100_000, 1_000_000)
STORED_RECORDS = 300_000
"""Applied records that the sandbox of a virtual run stores: more than can be unresolved, fewer than all."""


@attrs.frozen
class Round:
    """One campaign: summary of the client, and counters of the sandbox."""

    summary: Summary
    stats: Stats

    @property
    def shares(self) -> tuple[float, float]:
        """Used share of the permitted rate, by the counters of the sandbox and by the client's summary."""
        stats, own = self.stats, self.summary.rate_utilisation
        assert stats.first_submit is not None
        assert stats.last_submit is not None
        assert own is not None, "too few batches were sent to say"
        permitted = (stats.last_submit - stats.first_submit) * calls_per_second(FAST, "submit") * TOKENS
        return (stats.batches - TOKENS) / permitted, own

    @property
    def faults(self) -> int:
        """Requests over a limit plus requests that were rejected for it."""
        return sum(self.stats.violations.values()) + self.stats.refused + self.summary.throttled


@attrs.frozen
class VirtualRun:
    """One campaign on the virtual clock; `digest` covers all results in order."""

    summary: Summary
    digest: str
    faults: int
    seconds: float


def over_http(count: int = RECORDS, rounds: int = 5) -> list[Figure]:
    """Run campaigns against fresh sandboxes; return the worst count and the median share."""
    found = []
    for number in range(1, rounds + 1):
        found.append(one := _round(count))
        print(f"  round {number}: {_shown(one)}", flush=True)
    by_sandbox, by_client = zip(*(one.shares for one in found), strict=True)
    return [
        exactly("clean: violations and refusals, all rounds", sum(one.faults for one in found), 0),
        at_most("clean: tokens minted, worst round", max(one.stats.mints for one in found), TOKENS),
        exactly("clean: delivered, worst round", min(one.summary.delivered for one in found), count),
        share("clean: permitted rate used, by the sandbox", median(by_sandbox), SHARE_HTTP, _spread(by_sandbox)),
        share("clean: permitted rate used, by the client", median(by_client), SHARE_HTTP, _spread(by_client)),
    ]


def on_virtual_clock(counts: Sequence[int] = VIRTUAL_COUNTS) -> list[Figure]:
    """Run a campaign of each size twice with the documented limits."""
    return [figure for count in counts for figure in _virtual_figures(count)]


def _round(count: int) -> Round:
    with sandbox(limits=FAST, resolve_after=RESOLVE_AFTER) as server:
        client = TruecallerClient.from_env(server.environment, max_tokens=TOKENS)
        summary = asyncio.run(_campaign(client, count))
        return Round(summary, server.stats())


async def _campaign(client: TruecallerClient, count: int) -> Summary:
    async with client, client.push_many(records(count)) as results:
        async for _ in results:
            pass
    return results.summary


def _virtual_figures(count: int) -> list[Figure]:
    first, second = (_virtual_run(count) for _ in range(2))
    name = f"virtual, {count:,}"
    same = first.digest == second.digest and first.summary == second.summary
    assert first.summary.rate_utilisation is not None, "too few batches were sent to say"
    return [
        exactly(f"{name}: violations and refusals, both runs", first.faults + second.faults, 0),
        exactly(f"{name}: delivered", first.summary.delivered, count),
        share(f"{name}: permitted rate used", first.summary.rate_utilisation, SHARE_VIRTUAL),
        Figure(f"{name}: run twice", "equal" if same else "different", "equal", same),
        Figure(f"{name}: virtual / real seconds", f"{first.summary.elapsed:,.0f} / {first.seconds:,.1f}"),
    ]


def _virtual_run(count: int) -> VirtualRun:
    began = perf_counter()
    summary, digest, faults = run_virtual(_virtual_campaign, count)
    one = VirtualRun(summary, digest, faults, perf_counter() - began)
    print(f"  {count:,} records: {one.seconds:.1f} s, results {digest[:12]}", flush=True)
    return one


async def _virtual_campaign(count: int) -> tuple[Summary, str, int]:
    world = World(settings=SandboxSettings(truth_limit=STORED_RECORDS), max_tokens=TOKENS)
    digest = hashlib.blake2b(digest_size=16)
    async with world.client, world.client.push_many(virtual_records(count)) as results:
        async for result in results:
            digest.update(f"{result.row} {result.outcome} {result.batch_id} {result.record_id}\n".encode())
    stats = world.state.stats()
    faults = sum(stats.violations.values()) + stats.refused + results.summary.throttled
    return results.summary, digest.hexdigest(), faults


def _shown(one: Round) -> str:
    by_sandbox, by_client = one.shares
    return (
        f"{one.summary.delivered:,} delivered, {one.faults} violations and refusals, {one.stats.mints} tokens, "
        f"share {by_sandbox:.4f} by the sandbox, {by_client:.4f} by the client"
    )


def _spread(values: Sequence[float]) -> str:
    return f" ({100 * min(values):.2f} to {100 * max(values):.2f})"
