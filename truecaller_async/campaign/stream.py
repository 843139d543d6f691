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
from truecaller_async.campaign.intake import Intake
from truecaller_async.campaign.lifecycle import Phase
from truecaller_async.campaign.recorder import wait_durable
from truecaller_async.campaign.run import Run
from truecaller_async.campaign.startup.resume import CampaignResumer
from truecaller_async.campaign.startup.source_check import RecoveredRows
from truecaller_async.campaign.startup.start import CampaignRequest, first_entries, start_campaign
from truecaller_async.campaign.workers.dispatcher import Dispatcher
from truecaller_async.errors import ConfigError
from truecaller_async.models import Progress, RecordResult, ResultList, Summary
from truecaller_async.models.journal_entries import NoteAdded
from truecaller_async.options import BATCH_MAX
from truecaller_async.resilience.rate_law import calls_per_second

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
        self._dispatcher: Dispatcher | None = None
        self._intake: Intake | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._ready: Iterator[RecordResult] = iter(())
        self._pending_notes: list[NoteAdded] = []

    async def __aenter__(self) -> Self:
        if self._run is not None:
            raise ConfigError(
                "a campaign runs once: this one has started already. Call push_many again, or resume its journal"
            )
        run, recovered = await start_campaign(self._request, self._pending_notes)
        dispatcher = Dispatcher(run)
        try:
            if self._request.resumed:
                await self._resume(run, dispatcher, recovered)
        except BaseException:
            run.lifecycle.stop(abort=True)
            run.lifecycle.end_reading()
            try:
                await asyncio.shield(run.lifecycle.wait_done())
            finally:  # also if the caller is cancelled once more
                await recovered.aclose()
            raise
        self._run, self._dispatcher = run, dispatcher
        self._intake = intake = Intake(run, dispatcher, recovered.dedupe, recovered.reader)

        def changed() -> None:
            dispatcher.pump()
            intake.notify()

        run.lifecycle.on_change = changed
        run.deps.observer.event("campaign.started", {"max_tokens": run.deps.pool.max_tokens, "run": run.state.runs})
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(intake.read_all()), loop.create_task(dispatcher.open())]
        return self

    async def _resume(self, run: Run, dispatcher: Dispatcher, recovered: RecoveredRows) -> None:
        await wait_durable(CampaignResumer(run, dispatcher, recovered).resume(first_entries(run, self._pending_notes)))

    def __repr__(self) -> str:
        if self._run is None:
            return "<CampaignStream, not started>"
        progress = self._run.progress
        phase = self._run.lifecycle.phase.name.lower()
        return f"<CampaignStream, {phase}: {progress.resolved} of {progress.read} rows have their result>"

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
        results = await run.results.get()
        if results:
            if self._intake is not None:
                self._intake.notify()  # it may read more
            return results
        await run.lifecycle.wait_done()
        if run.lifecycle.fault is not None:
            raise run.lifecycle.fault
        return []

    async def drain(self) -> None:
        """Stop reading and sending; finish the requests in flight and poll for 30 more seconds.

        Results continue to arrive in the iteration. Returns at once.

        Raises:
            ConfigError: The block is not entered yet.
        """
        self._running().lifecycle.stop(abort=False)

    async def abort(self) -> None:
        """Stop reading, sending and polling; await the requests in flight.

        Returns when every record has its result.

        Raises:
            ConfigError: The block is not entered yet. The iteration raises the fault of the run, not this method.
        """
        lifecycle = self._running().lifecycle
        lifecycle.stop(abort=True)
        # Shielded: if the caller is cancelled here, the run still ends in good order.
        await asyncio.shield(lifecycle.wait_done())
        if self._tasks:
            # The token pool may still be opening: nothing of the run is left when this returns.
            await asyncio.shield(asyncio.wait(self._tasks))

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
            await wait_durable(self._run.recorder.record(NoteAdded(name, value)))

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
        state, progress = run.state, run.progress
        total = add_costs(state.cost_before, progress.cost_entry())
        return Summary(
            read=progress.read,
            **progress.outcomes(),
            batches=state.accepted,
            requests=total.requests,
            retries=total.retries,
            throttled=total.throttled,
            tokens_minted=total.tokens_minted,
            possibly_duplicated=state.possibly_duplicated + state.run.provisional_duplicated,
            elapsed=total.elapsed,
            records_per_second=progress.sent_and_resolved() / total.elapsed if total.elapsed > 0 else 0.0,
            rate_utilisation=progress.utilisation(run.deps.pool.limits),
            runs=state.runs,
            this_run=progress.cost(),
        )

    @property
    def progress(self) -> Progress:
        """Return the current state of the campaign.

        Raises:
            ConfigError: The block is not entered yet.
        """
        run = self._running()
        progress, pool = run.progress, run.deps.pool
        in_flight, pending, live = progress.rows_in_flight(), progress.rows_pending(), len(pool.live())
        return Progress(
            read=progress.read,
            planned=max(0, progress.open - in_flight - pending),
            in_flight=in_flight,
            pending=pending,
            resolved=progress.resolved,
            sent=run.state.sent,
            outcomes=progress.outcomes(),
            reasons=dict(progress.reasons),
            tokens_live=live,
            tokens_cooling_down=pool.cooling_down_count(),
            tokens_max=pool.max_tokens,
            rate=progress.rate(),
            permitted_rate=live * calls_per_second(pool.limits, "submit") * BATCH_MAX,
            throttled=progress.throttled + progress.token_requests().throttled,
            elapsed=progress.elapsed,
            waiting_until=self._waiting_until(run),
            limited_by=self._limited_by(run, in_flight),
            finished=run.lifecycle.phase is Phase.DONE,
        )

    def _running(self) -> Run:
        if self._run is None:
            raise ConfigError(
                "the campaign has not started: a campaign starts with 'async with client.push_many(...) as results:'"
            )
        return self._run

    def _waiting_until(self, run: Run) -> datetime | None:
        if self._dispatcher is None or run.lifecycle.phase is Phase.DONE:
            return None
        return self._dispatcher.tokens.waiting_until

    def _limited_by(self, run: Run, in_flight: int) -> str | None:
        if run.lifecycle.phase is Phase.DONE:
            return None
        if _service_is_degraded(run, in_flight):
            return "service"
        if self._intake is not None and self._intake.waits_for_credits:
            return "reader" if run.results.queued_count > run.options.max_unresolved // 2 else "max_unresolved"
        if run.queue.waiting_count:
            return "limits"
        return None if run.lifecycle.reading_ended else "source"


def _service_is_degraded(run: Run, in_flight: int) -> bool:
    """Return whether the service limits the run.

    It does not answer, or the circuit breaker or the retry budget restricts requests.
    """
    guard = run.deps.guard
    if guard.is_open or (guard.is_degraded and not guard.last_answer_was_good):
        return True
    return in_flight > 0 and run.now() - run.progress.last_answer_at > SILENCE_SECONDS
