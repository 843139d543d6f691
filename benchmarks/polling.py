"""How many polls are wasted, and how late an answer is known: what learning when to poll is worth.

    python -m benchmarks.polling

A poll is wasted if no record became final by it. Never to poll wastes nothing either, so beside it stands how long a
batch was final before we knew. Both are counted at the server: a whole campaign runs against the sandbox on the virtual
clock, a batch each 0.3 seconds for a quarter of an hour, and how long each takes is drawn when it is taken. The first
half is the beginning, the second the steady state. What is shown is the same on every machine.

What could be had at best: who knows how long batches take in general, and nothing of the single one, and wastes no more
than w polls a batch, polls first where all but w of them are final. Between 2 and 10 seconds, all equally likely, and
with 0.2 wasted that is after 8.4 s, and the median batch has then been final for 2.4 s (for 3.2 s with 0.1). Where one
batch in ten takes ten times as long as the others, the poll that finds the others is wasted on it, and so are those
that go looking for its end: 0.2 could be reached only by polling all batches at the end of the slowest, or by learning
more than one time. That case has no target, and neither has the one whose records become final one by one, where a
poll that finds a part is not wasted.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from random import Random
from statistics import fmean, median

import attrs
import msgspec

from benchmarks import Figure
from tests.engine.world import World, record
from tests.throttling.gateway import run_on_swift_loop
from truecaller_async import CallRecord, CampaignOptions
from truecaller_async.sandbox import SandboxSettings, SandboxState
from truecaller_async.sandbox.answers import SandboxResponse
from truecaller_async.sandbox.settings import SPEEDS

BATCHES = 3_000
BATCH = 5
EVERY = 0.3
"""Seconds from one batch to the next. The limits are off, and a batch is small, because only the polls matter here."""

LINGER = 0.02
WASTED_MAX = 0.2
HOURS = 8
RECEIVER = b'"receiver_number"'
FINAL = b'"success"'


@attrs.frozen
class Case:
    """How long batches take: drawn for each, given how much of the campaign is over. Their records may be spread."""

    name: str
    seconds: Callable[[Random, float], float]
    spread: float = 0.0
    has_target: bool = True


CASES = (
    Case("0.5 s", lambda _rng, _over: 0.5),
    Case("5 s", lambda _rng, _over: 5.0),
    Case("60 s", lambda _rng, _over: 60.0),
    Case("2 to 10 s", lambda rng, _over: rng.uniform(2.0, 10.0)),
    Case("from 2 s slowly to 8 s", lambda _rng, over: 2.0 + 6.0 * over),
    Case("from 8 s slowly to 2 s", lambda _rng, over: 8.0 - 6.0 * over),
    Case("2 s, one in ten 20 s", lambda rng, _over: 2.0 if rng.random() < 0.9 else 20.0, has_target=False),
    Case("2 s, then one by one over 5 s", lambda _rng, _over: 2.0, spread=5.0, has_target=False),
)


@attrs.define
class Life:
    """What the server saw of one batch. `final_at`: its last record became final; `known_at`: that was told."""

    size: int
    final_at: float
    told: int = 0
    wasted: int = 0
    known_at: float | None = None


class Watched(SandboxState):
    """A sandbox in which each batch takes its own time, and polls are judged."""

    def __init__(self, case: Case) -> None:
        super().__init__(SandboxSettings(resolve_spread=case.spread, limits=SPEEDS["off"]))
        self._case = case
        self._dice = Random(case.name)
        self.lives: dict[str, Life] = {}

    def handle(self, method: str, path_qs: str, headers: Mapping[str, str], body: bytes, now: float) -> SandboxResponse:
        """Answer as the sandbox does, and keep the account of each batch."""
        seconds = self._case.seconds(self._dice, min(1.0, len(self.lives) / BATCHES))
        self.settings = attrs.evolve(self.settings, resolve_after=seconds)
        reply = super().handle(method, path_qs, headers, body, now)
        if reply.status == 200 and b'"batch_id"' in reply.body:
            batch_id = msgspec.json.decode(reply.body)["batch_id"]
            if method == "POST":
                self.lives[batch_id] = Life(body.count(RECEIVER), now + seconds + self._case.spread)
            else:
                _judge(self.lives[batch_id], reply.body.count(FINAL), now)
        return reply


@attrs.frozen
class Half:
    """One half of a campaign, in the order in which its batches were taken: empty polls per batch, seconds unknown."""

    wasted: float
    late: float
    late_mean: float

    @classmethod
    def of(cls, lives: Sequence[Life]) -> Half:
        """The account of these batches, all of which are known."""
        late = [life.known_at - life.final_at for life in lives if life.known_at is not None]
        assert len(late) == len(lives), "a batch was never found final"
        return cls(fmean(life.wasted for life in lives), median(late), fmean(late))


def measure() -> list[Figure]:
    """Every case."""
    return [figure for case in CASES for figure in _figures(case)]


def campaign(case: Case) -> tuple[Half, Half]:
    """The beginning and the steady state of one campaign."""
    lives = run_on_swift_loop(_run, case)
    middle = len(lives) // 2
    return Half.of(lives[:middle]), Half.of(lives[middle:])


def _figures(case: Case) -> list[Figure]:
    beginning, steady = campaign(case)
    print(f"  {case.name}: {beginning}, {steady}", flush=True)
    name = f"polling, {case.name}"
    value = f"{steady.wasted:.3f} (at first {beginning.wasted:.3f})"
    aim = (f"<= {WASTED_MAX:g}", steady.wasted <= WASTED_MAX) if case.has_target else ("", None)
    return [
        Figure(f"{name}: empty polls per batch", value, *aim),
        Figure(f"{name}: final and not known, median", f"{steady.late:.2f} s (mean {steady.late_mean:.2f} s)"),
    ]


async def _run(case: Case) -> list[Life]:
    state = Watched(case)
    world = World(state=state, max_tokens=1)
    options = CampaignOptions(linger=LINGER)
    async with world.client, world.client.push_many(_source(), options=options) as results:
        async for _ in results:
            pass
    assert results.summary.delivered == BATCHES * BATCH
    return list(state.lives.values())


async def _source() -> AsyncIterator[CallRecord]:
    """A few records at a time, so that each few are a batch."""
    for batch in range(BATCHES):
        for number in range(batch * BATCH, (batch + 1) * BATCH):
            yield record(number, hours=HOURS)
        await asyncio.sleep(EVERY)


def _judge(life: Life, final: int, now: float) -> None:
    """One poll was answered: what was new in it?"""
    life.wasted += final == life.told
    life.told = max(life.told, final)
    if final == life.size and life.known_at is None:
        life.known_at = now


if __name__ == "__main__":
    figures = measure()
    print(*(f"{figure.name}: {figure.value} {figure.target}" for figure in figures), sep="\n")
    sys.exit(any(figure.met is False for figure in figures))
