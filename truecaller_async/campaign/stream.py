"""The campaign object that `client.push_many` returns.

    async with client.push_many(source) as results:
        async for result in results:
            ...
    print(results.summary)

Leaving the block ends the campaign. If results are still missing, the campaign is aborted: requests in flight are
awaited and never cancelled. A fault of the whole run is raised from the iteration, after the last result.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from datetime import datetime
from types import TracebackType
from typing import Self

from truecaller_async.campaign.core.campaign_state import add_costs
from truecaller_async.campaign.dispatcher import Dispatcher
from truecaller_async.campaign.intake import Intake
from truecaller_async.campaign.poller import Poller
from truecaller_async.campaign.resume import CampaignResumer
from truecaller_async.campaign.run import RATE_WINDOW_SECONDS, Phase, Run
from truecaller_async.campaign.sender import Sender
from truecaller_async.campaign.start import CampaignRequest, start_campaign
from truecaller_async.errors import ConfigError, JournalError
from truecaller_async.models import NoteAdded, Progress, RecordResult, ResultList, Summary
from truecaller_async.options import BATCH_MAX
from truecaller_async.resilience.rate_law import calls_per_second

RATE_MIN_SECONDS = 5.0
"""Shortest time over which the current rate is computed."""
SILENCE_SECONDS = 10.0
"""Time without any answer, while requests are in flight, after which `limited_by` is "service"."""


class CampaignStream:
    """Results of a campaign, one `RecordResult` per record read, in the order in which they become known.

    Enter it with `async with`, then iterate with `async for`. After the last result the iteration raises the fault that
    ended the whole run, if there was one: `SourceError`, `Forbidden`, `AuthenticationFailed`, `UnexpectedRedirect`,
    `JournalError` or another error of this package. Leaving the block early aborts the campaign. `summary` and
    `progress` can be read at any time after the block was entered, also after its end.
    """

    def __init__(self, request: CampaignRequest) -> None:
        self._request = request
        self._run: Run | None = None
        self._intake: Intake | None = None
        self._workers: list[asyncio.Task[None]] = []
        self._ready: Iterator[RecordResult] = iter(())
        self._closing: asyncio.Task[None] | None = None
        self._pending_notes: list[NoteAdded] = []

    async def __aenter__(self) -> Self:
        if self._run is not None:
            raise ConfigError(
                "a campaign runs once: this one has started already. Call push_many again, or resume its journal"
            )
        run, recovered = await start_campaign(self._request, self._pending_notes)
        sender, poller = Sender(run), Poller(run)
        try:
            if self._request.resumed:
                await CampaignResumer(run, sender, recovered).restore()
        except BaseException:
            run.stop(abort=True)
            await self._finish(run)
            await recovered.aclose()
            raise
        self._run = run
        self._intake = Intake(run, recovered.reader)
        dispatcher = Dispatcher(run, sender.send, poller.poll, sender.prune)
        run.deps.observer.event("campaign.started", {"max_tokens": run.deps.pool.max_tokens, "run": run.state.runs})
        self._workers = [run.start_critical(self._intake.read_all()), run.start_critical(dispatcher.run())]
        return self

    def __repr__(self) -> str:
        if self._run is None:
            return "<CampaignStream, not started>"
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
        for result in self._ready:
            return result
        self._ready = iter(await self._next_list())
        for result in self._ready:
            return result
        raise StopAsyncIteration

    async def next_results(self) -> list[RecordResult]:
        """Return the results that are ready; wait if there are none.

        For callers that process results in lists.

        Returns:
            The results; an empty list at the end of the campaign.

        Raises:
            TruecallerError: The fault of the whole run, after the last result, as in the iteration.
            ConfigError: The block is not entered yet.
        """
        return list(await self._next_list())

    async def _next_list(self) -> ResultList:
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
        """Stop reading and sending; finish the requests in flight and poll for 30 more seconds.

        Results continue to arrive in the iteration. Returns at once.

        Raises:
            ConfigError: The block is not entered yet.
        """
        self._running().stop(abort=False)

    async def abort(self) -> None:
        """Stop reading, sending and polling; await the requests in flight.

        Returns when every record has its result.

        Raises:
            ConfigError: The block is not entered yet. The iteration raises the fault of the run, not this method.
        """
        run = self._running()
        run.stop(abort=True)
        await self._finish(run)

    async def note(self, name: str, value: str) -> None:
        """Store a named note in the journal, such as the path of a results file.

        `notes` returns it after a resume. If the block is not entered yet, the note is written together with the first
        entry of the journal, so that no crash can separate them.

        Args:
            name: Name of the note; a later note with the same name replaces it.
            value: Text of the note.

        Raises:
            JournalError: The journal cannot be written.
        """
        if self._run is None:
            self._pending_notes.append(NoteAdded(name, value))
        else:
            await self._run.journal.write(NoteAdded(name, value))

    @property
    def notes(self) -> Mapping[str, str]:
        """Return the notes of all runs of the campaign. Raises `ConfigError` if the block is not entered yet."""
        return dict(self._running().state.notes)

    @property
    def summary(self) -> Summary:
        """Return the totals of the campaign up to now; final when the iteration has ended.

        Raises:
            ConfigError: The block is not entered yet.
        """
        run = self._running()
        counters = run.counters
        this_run = run.cost()
        total = add_costs(run.state.cost_before, run.cost_entry())
        return Summary(
            read=counters.read,
            **run.counts(),
            batches=counters.batches,
            requests=total.requests,
            retries=total.retries,
            throttled=total.throttled,
            tokens_minted=total.tokens_minted,
            possibly_duplicated=counters.possibly_duplicated,
            elapsed=total.elapsed,
            records_per_second=counters.sent_and_resolved / total.elapsed if total.elapsed > 0 else 0.0,
            rate_utilisation=_utilisation(run),
            runs=run.state.runs,
            this_run=this_run,
        )

    @property
    def progress(self) -> Progress:
        """Return the current state of the campaign.

        Raises:
            ConfigError: The block is not entered yet.
        """
        run = self._running()
        counters = run.counters
        now = run.now()
        pending = sum(len(tracked.open) for tracked in run.accepted.values())
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
            throttled=counters.throttled + run.token_requests().throttled,
            elapsed=(run.ended_at if run.ended_at is not None else now) - run.started_at,
            waiting_until=self._waiting_until(run),
            limited_by=self._limited_by(run),
            finished=run.phase is Phase.DONE,
        )

    def _running(self) -> Run:
        if self._run is None:
            raise ConfigError(
                "the campaign has not started: a campaign starts with 'async with client.push_many(...) as results:'"
            )
        return self._run

    async def _finish(self, run: Run) -> None:
        if self._closing is None:
            self._closing = asyncio.create_task(self._close(run))
        # Shielded: if the caller is cancelled here, closing still completes.
        await asyncio.shield(self._closing)

    async def _close(self, run: Run) -> None:
        """Wait for the workers and the requests in flight, then close the journal in any case.

        A journal that failed earlier has set the fault of the run already; a journal that fails here sets it now.
        """
        try:
            try:
                # A loop: tasks that end may have started others.
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
        if _service_is_degraded(run):
            return "service"
        if self._intake is not None and self._intake.waits_for_credits:
            return "reader" if run.result_queue.queued_count > run.options.max_unresolved // 2 else "max_unresolved"
        if run.queue.batches:
            return "limits"
        return None if run.source_exhausted else "source"


def _service_is_degraded(run: Run) -> bool:
    """Return whether the service limits the run.

    It does not answer, or the circuit breaker or the retry budget restricts requests.
    """
    guard = run.deps.guard
    if guard.is_open or (guard.is_degraded and not guard.last_answer_was_good):
        return True
    return run.in_flight > 0 and run.now() - run.last_answer_at > SILENCE_SECONDS


def _rate(run: Run, now: float) -> float:
    """Return the records accepted per second in the rate window.

    At least 5 seconds are assumed: the burst that a new token may send says nothing about the rate.
    """
    if not run.recently_sent or run.first_sent_at is None:
        return 0.0
    since = max(run.first_sent_at, now - RATE_WINDOW_SECONDS)
    records = sum(count for at, count in run.recently_sent if at >= since)
    return records / max(now - since, RATE_MIN_SECONDS)


def _utilisation(run: Run) -> float | None:
    """Return the batches sent, as a fraction of what all tokens were permitted to send in the same time."""
    permitted = calls_per_second(run.deps.pool.limits, "submit") * run.peak_tokens
    batches = run.counters.batches - run.batches_before
    if run.first_sent_at is None or run.last_sent_at is None or batches <= 2 * run.peak_tokens:
        return None
    seconds = run.last_sent_at - run.first_sent_at
    if seconds <= 0 or permitted == float("inf"):
        return None
    return min(1.0, (batches - run.peak_tokens) / (seconds * permitted))
