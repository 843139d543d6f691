"""What `client.push_many` returns: a campaign as an object.

    async with client.push_many(source) as results:
        async for result in results:
            ...
    print(results.summary)

Leaving the block ends the campaign: if results were still to come it is aborted in good order, which means that what
is in flight is awaited, never cancelled. A fault of the whole run is raised from the iteration, after the last result.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from datetime import datetime
from types import TracebackType
from typing import Self

import attrs

from truecaller_async.engine.intake import Intake
from truecaller_async.engine.lanes import Lanes
from truecaller_async.engine.poller import Poller
from truecaller_async.engine.run import RATE_WINDOW, Core, Phase, Run
from truecaller_async.engine.sender import Sender
from truecaller_async.errors import ConfigError
from truecaller_async.models import Progress, RecordResult, Summary
from truecaller_async.options import BATCH_MAX, CampaignOptions
from truecaller_async.planning.pace import rate_of
from truecaller_async.ports import Journal

RATE_SETTLES = 5.0


@attrs.frozen
class _Mints:
    """Requests for tokens: how many, how many of them gave one, and how many were answered 429."""

    requests: int = 0
    made: int = 0
    throttled: int = 0

    @classmethod
    def of(cls, core: Core) -> _Mints:
        """Those of the whole client, up to now."""
        return cls(core.requests["mint"], core.pool.minted, core.pool.mints_throttled)

    def since(self, before: _Mints) -> _Mints:
        """Those of the time in between."""
        return _Mints(self.requests - before.requests, self.made - before.made, self.throttled - before.throttled)


class CampaignStream:
    """The results of a campaign, in the order in which they become known, one `RecordResult` for each record read.

    `async with` it, then `async for` its results. After the last result the iteration raises the fault that ended the
    whole run, if there was one: `SourceError` (the input broke), `Forbidden`, `AuthenticationFailed`,
    `UnexpectedRedirect`, `JournalError` and others of the tree. Leaving the block early aborts the campaign in good
    order. `summary` and `progress` may be read at any time, also after the block.
    """

    def __init__(
        self, core: Callable[[], Core], source: object, options: CampaignOptions, journal: Callable[[], Journal]
    ) -> None:
        self._core = core
        self._source = source
        self._options = options
        self._journal = journal
        self._run: Run | None = None
        self._intake: Intake | None = None
        self._workers: list[asyncio.Task[None]] = []
        self._mints_before = _Mints()
        self._hand: Iterator[RecordResult] = iter(())

    async def __aenter__(self) -> Self:
        if self._run is not None:
            raise ConfigError("a campaign runs once; call push_many again for another")
        core = self._core()
        self._run = run = Run(core, self._options, self._journal())
        self._mints_before = _Mints.of(core)
        self._intake = Intake(run, self._source)
        sender, poller = Sender(run), Poller(run)
        lanes = Lanes(run, sender.send, poller.poll, sender.prune)
        core.observer.stage("campaign.started", {"max_tokens": core.pool.max_tokens})
        self._workers = [run.employ(self._intake.read_all()), run.employ(lanes.keep())]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.abort()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> RecordResult:
        for result in self._hand:
            return result
        self._hand = iter(await self.take())
        for result in self._hand:
            return result
        raise StopAsyncIteration

    async def take(self) -> list[RecordResult]:
        """The results that are ready, waited for where there are none; an empty list is the end.

        For who reads in pieces. Raises, like the iteration, the fault of the whole run after the last result.
        """
        run = self._running()
        results = await run.outlet.take()
        if results:
            run.alarm.ring()
            return results
        await self._finish(run)
        if run.fault is not None:
            raise run.fault
        return []

    async def drain(self) -> None:
        """Read and send nothing more; finish what is in flight and poll on for 30 seconds. Results keep coming.

        Raises `ConfigError` before the block is entered.
        """
        self._running().stop(abort=False)

    async def abort(self) -> None:
        """Read, send and poll nothing more; what is in flight is awaited. Returns when every record has its result.

        Raises `ConfigError` before the block is entered; what ended the run is raised by the iteration.
        """
        run = self._running()
        run.stop(abort=True)
        await self._finish(run)

    @property
    def summary(self) -> Summary:
        """The account so far; final once the iteration has ended. Raises `ConfigError` before the block is entered."""
        run = self._running()
        tally = run.tally
        elapsed = (run.ended if run.ended is not None else run.now()) - run.began
        mints = _Mints.of(run.core).since(self._mints_before)
        return Summary(
            read=tally.read,
            **run.counts(),
            batches=tally.batches,
            requests=dict(tally.requests) | {"mint": mints.requests},
            retries=tally.retries,
            throttled=tally.throttled + mints.throttled,
            tokens_minted=mints.made,
            possibly_duplicated=tally.possibly_duplicated,
            elapsed=elapsed,
            records_per_second=tally.reached / elapsed if elapsed > 0 else 0.0,
            permitted_share=_share(run),
        )

    @property
    def progress(self) -> Progress:
        """Where the campaign is at this moment. Raises `ConfigError` before the block is entered."""
        run = self._running()
        tally = run.tally
        now = run.now()
        pending = sum(len(accepted.open) for accepted in run.accepted.values())
        live = len(run.core.pool.live())
        return Progress(
            read=tally.read,
            planned=max(0, tally.open - run.in_flight - pending),
            in_flight=run.in_flight,
            pending=pending,
            resolved=tally.answered,
            sent=tally.sent,
            outcomes=run.counts(),
            reasons=dict(tally.reasons),
            tokens_live=live,
            tokens_held=run.core.pool.held(),
            tokens_max=run.core.pool.max_tokens,
            rate=_rate(run, now),
            permitted_rate=live * rate_of(run.core.pool.limits, "submit") * BATCH_MAX,
            throttled=tally.throttled + _Mints.of(run.core).since(self._mints_before).throttled,
            elapsed=(run.ended if run.ended is not None else now) - run.began,
            waiting_until=self._waiting_until(run),
            bound_by=self._bound_by(run),
            finished=run.phase is Phase.DONE,
        )

    def _running(self) -> Run:
        if self._run is None:
            raise ConfigError("a campaign starts with 'async with client.push_many(...) as results:'")
        return self._run

    async def _finish(self, run: Run) -> None:
        """Wait for the workers and for what is still in flight; then close the journal."""
        while pending := [task for task in (*self._workers, *run.flights) if not task.done()]:
            await asyncio.wait(pending)
        await run.journal.aclose()

    def _waiting_until(self, run: Run) -> datetime | None:
        return run.waiting_until if run.phase is not Phase.DONE else None

    def _bound_by(self, run: Run) -> str | None:
        if run.phase is Phase.DONE:
            return None
        if self._intake is not None and self._intake.waits_for_credits:
            return "reader" if run.outlet.waiting > run.options.max_unresolved // 2 else "max_unresolved"
        if run.schedule.batches:
            return "limits"
        return None if run.source_done else "source"


def _rate(run: Run, now: float) -> float:
    """Records accepted a second, over the last ten seconds or as long as the run has sent.

    The first seconds count as five: the small burst that a fresh token may send says nothing about the rate.
    """
    if not run.recent or run.first_sent is None:
        return 0.0
    since = max(run.first_sent, now - RATE_WINDOW)
    records = sum(count for at, count in run.recent if at >= since)
    return records / max(now - since, RATE_SETTLES)


def _share(run: Run) -> float | None:
    """Batches sent between the first and the last, as a part of what all tokens might have sent in that time."""
    permitted = rate_of(run.core.pool.limits, "submit") * run.most_tokens
    if run.first_sent is None or run.last_sent is None or run.tally.batches <= 2 * run.most_tokens:
        return None
    seconds = run.last_sent - run.first_sent
    if seconds <= 0 or permitted == float("inf"):
        return None
    return min(1.0, (run.tally.batches - run.most_tokens) / (seconds * permitted))
