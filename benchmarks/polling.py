"""Empty polls, and the delay until a result is known: the effect of the adaptive first poll.

    python -m benchmarks.polling

A poll is empty if no record became final since the poll before. Not polling at all has no empty polls, so the time is
also measured for which a batch was final before the client knew it. Both are counted at the server: a campaign runs
against the sandbox on the virtual clock, with a batch every 0.3 seconds for a quarter of an hour, and a random duration
for each batch. The first half is the start, the second half the steady state. The figures are equal on every machine.

The optimum: a client that knows the distribution of durations, but not the single one, and accepts w empty polls per
batch, polls first when all but a fraction w are final. For durations uniform between 2 and 10 seconds and w = 0.2, that
is after 8.4 s, and the median batch has been final for 2.4 s (3.2 s for w = 0.1). If one batch of ten takes ten times
as long as the others, the poll that finds the others is empty for it, and so are the polls until its end: w = 0.2 would
need a poll of all batches at the end of the slowest, or more than one learned duration. That case has no target, and
neither has the one in which records become final one by one, because a poll that finds some of them is not empty.
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
from tests.campaign.world import World, record
from tests.throttling.gateway import run_on_swift_loop
from truecaller_async import CallRecord, CampaignOptions
from truecaller_async.sandbox import SandboxSettings, SandboxState
from truecaller_async.sandbox.answers import SandboxResponse
from truecaller_async.sandbox.settings import SPEEDS

BATCHES = 3_000
BATCH = 5
BATCH_INTERVAL_SECONDS = 0.3
"""Seconds between batches. Limits are off and batches are small: only the polls matter here."""

LINGER = 0.02
WASTED_MAX = 0.2
HOURS = 8
RECEIVER = b'"receiver_number"'
FINAL = b'"success"'


@attrs.frozen
class Case:
    """Distribution of the duration of batches, given the elapsed fraction of the campaign."""

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
class BatchHistory:
    """Data of one batch at the server; `final_at`: last record final; `known_at`: the client got this status."""

    size: int
    final_at: float
    final_records: int = 0
    wasted: int = 0
    known_at: float | None = None


class MeasuredSandbox(SandboxState):
    """Sandbox in which each batch has its own duration and polls are evaluated."""

    def __init__(self, case: Case) -> None:
        super().__init__(SandboxSettings(resolve_spread=case.spread, limits=SPEEDS["off"]))
        self._case = case
        self._dice = Random(case.name)
        self.histories: dict[str, BatchHistory] = {}

    def handle(self, method: str, path_qs: str, headers: Mapping[str, str], body: bytes, now: float) -> SandboxResponse:
        """Answer as the sandbox does, and record the history of each batch."""
        seconds = self._case.seconds(self._dice, min(1.0, len(self.histories) / BATCHES))
        self.settings = attrs.evolve(self.settings, resolve_after=seconds)
        reply = super().handle(method, path_qs, headers, body, now)
        if reply.status == 200 and b'"batch_id"' in reply.body:
            batch_id = msgspec.json.decode(reply.body)["batch_id"]
            if method == "POST":
                self.histories[batch_id] = BatchHistory(body.count(RECEIVER), now + seconds + self._case.spread)
            else:
                _record_poll(self.histories[batch_id], reply.body.count(FINAL), now)
        return reply


@attrs.frozen
class Half:
    """One half of a campaign by order of acceptance: empty polls per batch, and seconds of delay."""

    wasted: float
    late: float
    late_mean: float

    @classmethod
    def from_histories(cls, histories: Sequence[BatchHistory]) -> Half:
        """Summarise these batches, all of which are known to be final."""
        late = [history.known_at - history.final_at for history in histories if history.known_at is not None]
        assert len(late) == len(histories), "a batch was never found final"
        return cls(fmean(history.wasted for history in histories), median(late), fmean(late))


def measure() -> list[Figure]:
    """Run all cases."""
    return [figure for case in CASES for figure in _figures(case)]


def campaign(case: Case) -> tuple[Half, Half]:
    """Return the first half and the steady state of one campaign."""
    histories = run_on_swift_loop(_run, case)
    middle = len(histories) // 2
    return Half.from_histories(histories[:middle]), Half.from_histories(histories[middle:])


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


async def _run(case: Case) -> list[BatchHistory]:
    state = MeasuredSandbox(case)
    world = World(state=state, max_tokens=1)
    options = CampaignOptions(linger=LINGER)
    async with world.client, world.client.push_many(_source(), options=options) as results:
        async for _ in results:
            pass
    assert results.summary.delivered == BATCHES * BATCH
    return list(state.histories.values())


async def _source() -> AsyncIterator[CallRecord]:
    """Yield records in groups, so that each group becomes a batch."""
    for batch in range(BATCHES):
        for number in range(batch * BATCH, (batch + 1) * BATCH):
            yield record(number, hours=HOURS)
        await asyncio.sleep(BATCH_INTERVAL_SECONDS)


def _record_poll(history: BatchHistory, final: int, now: float) -> None:
    """Record whether a poll returned a new final record."""
    history.wasted += final == history.final_records
    history.final_records = max(history.final_records, final)
    if final == history.size and history.known_at is None:
        history.known_at = now


if __name__ == "__main__":
    figures = measure()
    print(*(f"{figure.name}: {figure.value} {figure.target}" for figure in figures), sep="\n")
    sys.exit(any(figure.met is False for figure in figures))
