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
from collections.abc import Iterator, Mapping
from datetime import datetime
from types import TracebackType
from typing import Self

from truecaller_async.engine.dispatcher import Dispatcher
from truecaller_async.engine.intake import Intake
from truecaller_async.engine.poller import Poller
from truecaller_async.engine.resume import CampaignResumer
from truecaller_async.engine.run import RATE_WINDOW_SECONDS, Phase, Run
from truecaller_async.engine.sender import Sender
from truecaller_async.engine.start import CampaignRequest, start_campaign
from truecaller_async.errors import ConfigError, JournalError
from truecaller_async.models import NoteAdded, Progress, RecordResult, ResultList, Summary
from truecaller_async.options import BATCH_MAX
from truecaller_async.planning.campaign_state import add_costs
from truecaller_async.resilience.rate_law import calls_per_second

RATE_MIN_SECONDS = 5.0
SILENCE_SECONDS = 10.0
"""Seconds without any answer, while requests are in flight, after which the service is what a run waits for."""


class CampaignStream:
    """The results of a campaign, in the order in which they become known, one `RecordResult` for each record read.

    `async with` it, then `async for` its results. After the last result the iteration raises the fault that ended the
    whole run, if there was one: `SourceError` (the input broke), `Forbidden`, `AuthenticationFailed`,
    `UnexpectedRedirect`, `JournalError` and others of the tree. Leaving the block early aborts the campaign in good
    order. `summary` and `progress` may be read at any time, also after the block.
    """

    def __init__(self, asked: CampaignRequest) -> None:
        self._asked = asked
        self._run: Run | None = None
        self._intake: Intake | None = None
        self._workers: list[asyncio.Task[None]] = []
        self._hand: Iterator[RecordResult] = iter(())
        self._closing: asyncio.Task[None] | None = None
        self._noted: list[NoteAdded] = []

    async def __aenter__(self) -> Self:
        if self._run is not None:
            raise ConfigError("a campaign runs once; call push_many again for another, or resume its journal")
        run, recovered = await start_campaign(self._asked, self._noted)
        sender, poller = Sender(run), Poller(run)
        try:
            if self._asked.resumed:
                await CampaignResumer(run, sender, recovered).restore()
        except BaseException:
            run.stop(abort=True)
            await self._finish(run)
            await recovered.aclose()
            raise
        self._run = run
        self._intake = Intake(run, recovered.reader)
        lanes = Dispatcher(run, sender.send, poller.poll, sender.prune)
        run.deps.observer.event("campaign.started", {"max_tokens": run.deps.pool.max_tokens, "run": run.state.runs})
        self._workers = [run.start_critical(self._intake.read_all()), run.start_critical(lanes.run())]
        return self

    def __repr__(self) -> str:
        if self._run is None:
            return "<CampaignStream, not begun>"
        counters = self._run.counters
        phase = self._run.phase.name.lower()
        return f"<CampaignStream, {phase}: {counters.resolved} of {counters.read} rows have their result>"

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.abort()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> RecordResult:
        for result in self._hand:
            return result
        self._hand = iter(await self._next())
        for result in self._hand:
            return result
        raise StopAsyncIteration

    async def next_results(self) -> list[RecordResult]:
        """The results that are ready, waited for where there are none; an empty list is the end.

        For who reads in pieces. Raises, like the iteration, the fault of the whole run after the last result.
        """
        return list(await self._next())

    async def _next(self) -> ResultList:
        run = self._running()
        results = await run.result_queue.get()
        if results:
            run.wakeup.notify_all()
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

    async def note(self, name: str, value: str) -> None:
        """Keep a word of yours in the journal, such as the path of your results; `notes` has it after a resume.

        Before the block is entered it is kept for the journal's first entry, so that no crash can come between. Raises
        `JournalError`.
        """
        if self._run is None:
            self._noted.append(NoteAdded(name, value))
        else:
            await self._run.journal.write(NoteAdded(name, value))

    @property
    def notes(self) -> Mapping[str, str]:
        """What `note` was told, in all runs of the campaign. Raises `ConfigError` before the block is entered."""
        return dict(self._running().state.notes)

    @property
    def summary(self) -> Summary:
        """The account so far; final once the iteration has ended. Raises `ConfigError` before the block is entered."""
        run = self._running()
        counters = run.counters
        here = run.cost()
        spent = add_costs(run.state.cost_before, run.cost_entry())
        return Summary(
            read=counters.read,
            **run.counts(),
            batches=counters.batches,
            requests=spent.requests,
            retries=spent.retries,
            throttled=spent.throttled,
            tokens_minted=spent.tokens_minted,
            possibly_duplicated=counters.possibly_duplicated,
            elapsed=spent.elapsed,
            records_per_second=counters.sent_and_resolved / spent.elapsed if spent.elapsed > 0 else 0.0,
            rate_utilisation=_utilisation(run),
            runs=run.state.runs,
            this_run=here,
        )

    @property
    def progress(self) -> Progress:
        """Where the campaign is at this moment. Raises `ConfigError` before the block is entered."""
        run = self._running()
        counters = run.counters
        now = run.now()
        pending = sum(len(accepted.open) for accepted in run.accepted.values())
        live = len(run.deps.pool.live())
        return Progress(
            read=counters.read,
            planned=max(0, counters.open - run.in_flight - pending),
            in_flight=run.in_flight,
            pending=pending,
            resolved=counters.resolved,
            sent=counters.sent,
            outcomes=run.counts(),
            reasons=dict(counters.reasons),
            tokens_live=live,
            tokens_cooling_down=run.deps.pool.cooling_down_count(),
            tokens_max=run.deps.pool.max_tokens,
            rate=_rate(run, now),
            permitted_rate=live * calls_per_second(run.deps.pool.limits, "submit") * BATCH_MAX,
            throttled=counters.throttled + run.mints().throttled,
            elapsed=(run.ended_at if run.ended_at is not None else now) - run.started_at,
            waiting_until=self._waiting_until(run),
            limited_by=self._limited_by(run),
            finished=run.phase is Phase.DONE,
        )

    def _running(self) -> Run:
        if self._run is None:
            raise ConfigError("a campaign starts with 'async with client.push_many(...) as results:'")
        return self._run

    async def _finish(self, run: Run) -> None:
        """Wait until all is over, the journal too. Who is cancelled here does not keep it from coming to its end."""
        if self._closing is None:
            self._closing = asyncio.create_task(self._close(run))
        await asyncio.shield(self._closing)

    async def _close(self, run: Run) -> None:
        """Wait for the workers and for what is still in flight; then let the journal go, whatever became of it.

        A journal that broke before has said so already; one that breaks now is the fault of this run.
        """
        try:
            try:
                while pending := [task for task in (*self._workers, *run.request_tasks) if not task.done()]:
                    await asyncio.wait(pending)
                if run.journal.resumable and not isinstance(run.fault, JournalError):
                    await run.journal.write(run.cost_entry())
            finally:
                await run.journal.aclose()
        except JournalError as error:
            run.fault = run.fault or error

    def _waiting_until(self, run: Run) -> datetime | None:
        return run.waiting_until if run.phase is not Phase.DONE else None

    def _limited_by(self, run: Run) -> str | None:
        if run.phase is Phase.DONE:
            return None
        if _is_degraded(run):
            return "service"
        if self._intake is not None and self._intake.waits_for_credits:
            return "reader" if run.result_queue.queued_count > run.options.max_unresolved // 2 else "max_unresolved"
        if run.queue.batches:
            return "limits"
        return None if run.source_exhausted else "source"


def _is_degraded(run: Run) -> bool:
    """Whether the service does not answer, or not well: nothing but retries and probes goes, or all are waited for."""
    guard = run.deps.guard
    if guard.is_open or (guard.is_degraded and not guard.last_answer_was_good):
        return True
    return run.in_flight > 0 and run.now() - run.last_answer_at > SILENCE_SECONDS


def _rate(run: Run, now: float) -> float:
    """Records accepted a second, over the last ten seconds or as long as the run has sent.

    The first seconds count as five: the small burst that a fresh token may send says nothing about the rate.
    """
    if not run.recent or run.first_sent_at is None:
        return 0.0
    since = max(run.first_sent_at, now - RATE_WINDOW_SECONDS)
    records = sum(count for at, count in run.recent if at >= since)
    return records / max(now - since, RATE_MIN_SECONDS)


def _utilisation(run: Run) -> float | None:
    """Batches sent between the first and the last, as a part of what all tokens might have sent in that time."""
    permitted = calls_per_second(run.deps.pool.limits, "submit") * run.peak_tokens
    batches = run.counters.batches - run.batches_before
    if run.first_sent_at is None or run.last_sent_at is None or batches <= 2 * run.peak_tokens:
        return None
    seconds = run.last_sent_at - run.first_sent_at
    if seconds <= 0 or permitted == float("inf"):
        return None
    return min(1.0, (batches - run.peak_tokens) / (seconds * permitted))
