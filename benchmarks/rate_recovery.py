"""Cost of refusals: each of ten tokens gets one 429 in the first seconds, and the next 300 s are counted.

It runs on the virtual clock, because the rate recovers slowly. A batch has one record, because the source pauses for
longer than a batch waits for more records. The source yields twice as many records as there are permits.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from random import Random

import attrs

from benchmarks.rate_client import only
from tests.campaign.world import World, record
from tests.throttling.gateway import run_on_swift_loop
from truecaller_async import CallRecord, CampaignOptions, RateLimit
from truecaller_async.models import Request

INJECTED_COUNT = 10
INJECTED_FROM_SECONDS = 2.0
"""Time of the first injected 429: all tokens have sent requests by then."""

COUNTED_SECONDS = 300.0
RECORDS_PER_PERMIT = 2
LINGER_FACTOR = 0.25
"""Time that a batch waits for more records, as a part of the pause between two records."""

UNRESOLVED_MAX = 1_000


@attrs.frozen
class Recovery:
    """What the sandbox counted: batches, those over the limit, refusals, and the used share after the refusals."""

    arrivals: int
    early: int
    refused: int
    share: float


def recover(rule: RateLimit, tokens: int) -> Recovery:
    """Run the campaign."""
    return run_on_swift_loop(_campaign, rule, tokens)


async def _campaign(rule: RateLimit, tokens: int) -> Recovery:
    loop = asyncio.get_running_loop()
    sent = defaultdict[str, list[float]](list)
    injected: dict[str, float] = {}

    def inject(request: Request, number: int, rng: Random) -> str | None:
        now = loop.time()
        if request.call != "submit" or request.token is None:
            return None
        token = request.token.reveal()
        if now >= INJECTED_FROM_SECONDS and token not in injected and len(injected) < INJECTED_COUNT:
            injected[token] = now
            return "429"
        sent[token].append(now)
        return None

    world = World(limits=only(rule), max_tokens=tokens, fault=inject)
    async with world.client as client:
        for _ in range(tokens):
            await client.tokens.make()
        pause = rule.per / (RECORDS_PER_PERMIT * rule.limit * tokens)
        options = CampaignOptions(linger=LINGER_FACTOR * pause, max_unresolved=UNRESOLVED_MAX)
        async with client.push_many(_records(injected, pause), options=options) as results:
            async for _ in results:
                pass
    stats = world.state.stats()
    begin = max(injected.values())
    count = sum(begin < moment <= begin + COUNTED_SECONDS for moments in sent.values() for moment in moments)
    return Recovery(
        sum(map(len, sent.values())) + len(injected),
        sum(stats.violations.values()),
        stats.refused + len(injected),
        count * rule.per / (COUNTED_SECONDS * rule.limit * tokens),
    )


async def _records(injected: dict[str, float], pause: float) -> AsyncIterator[CallRecord]:
    """Yield records until the counted time has ended."""
    loop, number = asyncio.get_running_loop(), 0
    while len(injected) < INJECTED_COUNT or loop.time() < max(injected.values()) + COUNTED_SECONDS:
        number += 1
        yield record(number)
        await asyncio.sleep(pause)
