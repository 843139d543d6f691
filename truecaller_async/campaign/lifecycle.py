"""Move a run through its phases, from the first row to the closed journal.

Algorithm:
    - RUNNING: read, send and poll.
    - DRAINING: nothing more is read or sent. Batches in the queue are released; polling continues for 30 seconds.
    - ABORTING: polling stops too, accepted batches are released. Only requests in flight are awaited.
    - CLOSING: every row has its result, or nothing can produce one any more. The sweep, the last commit, the journal.
    - DONE: the result queue is closed. Then the consumer gets the fault of the run, if there was one.
Invariants:
    - Law 2 at any end: the sweep gives a provisional result to each open row that has none. It uses no `apply`, so a
      defect of the core cannot lose results. In a sound run it finds nothing.
    - No request is ever cancelled: a cancelled POST would be an ambiguous attempt.
Failure modes:
    - `fail` keeps the first fault and drains. For an error in `ABORTING_ERRORS`, and for a defect, it aborts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from enum import IntEnum

from truecaller_async.campaign.core.batch import CampaignBatch
from truecaller_async.campaign.core.results import results_of, stop_outcome
from truecaller_async.campaign.core.work_queue import WorkQueue
from truecaller_async.campaign.outcomes import release_batch
from truecaller_async.campaign.recorder import Recorder, mark_provisional
from truecaller_async.campaign.result_queue import ResultQueue
from truecaller_async.cancellation import cancelled_from_outside
from truecaller_async.errors import (
    AuthenticationFailed,
    ClientClosed,
    ConfigError,
    Forbidden,
    NotSent,
    TokenBudgetExhausted,
    TruecallerError,
    UnexpectedRedirect,
)
from truecaller_async.models import RecordResult
from truecaller_async.ports import Journal, Observer

DRAIN_GRACE_SECONDS = 30.0
"""How long a draining run continues to poll."""

ABORTING_ERRORS = (
    AuthenticationFailed,
    ClientClosed,
    ConfigError,
    Forbidden,
    NotSent,
    TokenBudgetExhausted,
    UnexpectedRedirect,
)
"""Faults of the run after which polls would fail as well."""


class Phase(IntEnum):
    """Phase of a run; it only moves forward."""

    RUNNING = 0
    """Reading, sending and polling."""
    DRAINING = 1
    """Nothing new is read or sent; polling continues for `DRAIN_GRACE_SECONDS`."""
    ABORTING = 2
    """Only requests in flight are awaited."""
    CLOSING = 3
    """Nothing is in flight; the last entries are written."""
    DONE = 4
    """Every row has its result, and the journal is closed."""


class Lifecycle:
    """The phase of one run, its fault, and its end.

    Args:
        recorder: The recorder of the run.
        queue: The work queue of the run.
        results: The queue of the consumer.
        journal: The open journal.
        observer: Receives the events of the run.
    """

    def __init__(
        self, recorder: Recorder, queue: WorkQueue, results: ResultQueue, journal: Journal, observer: Observer
    ) -> None:
        self.phase = Phase.RUNNING
        """The current phase."""
        self.is_running = True
        """Whether new requests may still be sent."""
        self.fault: Exception | None = None
        """First fault of the whole run; raised to the consumer after the last result."""
        self.reading_ended = False
        """Whether the intake has ended; no more rows will be read."""
        self.on_change: Callable[[], None] = _do_nothing
        """Called when the phase changes."""
        self.busy_workers: Callable[[], int] = _zero
        """Returns the number of workers that have a request in flight."""
        self.leftover_results: Callable[[], list[RecordResult]] = list
        """Returns the results of rows that were read and are in no batch; in a sound run none."""
        self.on_close: Callable[[], None] = _do_nothing
        """Called when nothing is in flight any more."""
        self._recorder = recorder
        self._queue = queue
        self._results = results
        self._journal = journal
        self._observer = observer
        self._loop = asyncio.get_running_loop()
        self._grace: asyncio.TimerHandle | None = None
        self._closing: asyncio.Task[None] | None = None
        self._done = asyncio.Event()
        recorder.on_failure = self.fail
        recorder.on_recorded = self._recorded

    @property
    def may_poll(self) -> bool:
        """Return whether accepted batches are still polled."""
        return self.phase <= Phase.DRAINING

    def end_reading(self) -> None:
        """Record that the intake has ended."""
        self.reading_ended = True
        self.check_end()

    def fail(self, error: Exception) -> None:
        """Stop the run because of a fault; only the first fault is kept."""
        if self.phase >= Phase.CLOSING:
            self.fault = self.fault or error
            return
        is_defect = not isinstance(error, TruecallerError)
        if self.fault is None:
            self.fault = error
            self._observer.event("campaign.failed", {"error": "internal_error" if is_defect else type(error).__name__})
        elif not is_defect:
            return
        self.stop(abort=is_defect or isinstance(error, ABORTING_ERRORS))

    def stop(self, *, abort: bool) -> None:
        """Stop the run: release the batches in the queue, and limit polling.

        Args:
            abort: Stop polling now. If False, polling continues for `DRAIN_GRACE_SECONDS`.
        """
        if self.phase >= Phase.CLOSING or (self.phase is Phase.ABORTING and abort):
            return
        left = [item.batch for item in self._queue.waiting()] if self.is_running else []
        if self.is_running:
            self._observer.event("campaign.stop_requested", {"open_records": self._recorder.progress.open})
        self.phase = Phase.ABORTING if abort or self.phase is Phase.ABORTING else Phase.DRAINING
        self.is_running = False
        if self.phase is Phase.ABORTING:
            left += [item.batch for item in self._queue.accepted()]
        elif self._grace is None:
            self._grace = self._loop.call_later(DRAIN_GRACE_SECONDS, lambda: self.stop(abort=True))
        # Last: the release of one batch may begin to close the run, and the others must be released all the same.
        self._release_batches(left)
        self.on_change()
        self.check_end()

    def check_end(self) -> None:
        """Begin to close the run if every row has its result, or if nothing is left that could produce one."""
        if not self.reading_ended or self.phase >= Phase.CLOSING or self.busy_workers():
            return
        if self._recorder.progress.open == 0 or self.phase is Phase.ABORTING:
            self.phase, self.is_running = Phase.CLOSING, False
            self._closing = self._loop.create_task(self._close())

    def cancel_start(self) -> None:
        """End a run whose start failed, before anything was read or sent."""
        self.phase, self.is_running = Phase.DONE, False
        if self._grace is not None:
            self._grace.cancel()

    async def wait_done(self) -> None:
        """Wait until the run is done. May be cancelled; the run goes on."""
        await self._done.wait()

    def _recorded(self, changed: Iterable[CampaignBatch]) -> None:
        if not self.is_running and self.phase < Phase.CLOSING:
            # An attempt that ends after the stop may leave its batch waiting, or accepted and no longer polled.
            left = [batch for batch in changed if batch.is_waiting or (not self.may_poll and self._is_accepted(batch))]
            self._release_batches(left)
        self.on_change()
        if self.reading_ended:
            self.check_end()

    def _is_accepted(self, batch: CampaignBatch) -> bool:
        item = self._queue.find(batch.seq)
        return item is not None and item.polls is not None and not batch.released

    def _release_batches(self, batches: Iterable[CampaignBatch]) -> None:
        for batch in batches:
            root = None if batch.root_batch is None else self._recorder.state.batches.get(batch.root_batch)
            try:
                with self._recorder.transaction() as transaction:
                    release_batch(transaction, batch, *stop_outcome(batch, root))
            except Exception as defect:  # noqa: BLE001 - the sweep gives the results
                self.fault = self.fault or defect
                self.phase = max(self.phase, Phase.ABORTING)

    async def _close(self) -> None:
        progress = self._recorder.progress
        if self._grace is not None:
            self._grace.cancel()
        progress.ended_at = self._loop.time()
        steps: tuple[Callable[[], Awaitable[None] | None], ...] = (
            self.on_close,
            self._sweep,
            self._record_cost,
            self._recorder.flush,
            self._journal.aclose,
        )
        for step in steps:
            try:
                with cancelled_from_outside("the journal"):
                    if (waiting := step()) is not None:
                        await waiting
            except Exception as error:  # noqa: BLE001 - the consumer must get the end, whatever failed
                self.fault = self.fault or error
        self.phase = Phase.DONE
        self._observer.event("campaign.finished", {"read": progress.read, **progress.outcomes()})
        self._results.close()
        self._done.set()
        self.on_change()

    def _record_cost(self) -> None:
        if self._journal.resumable and self._recorder.failure is None:
            self._recorder.record(self._recorder.progress.cost_entry())

    def _sweep(self) -> None:
        left: list[RecordResult] = []
        state = self._recorder.state
        without_content: set[int] = set()
        for batch in state.open:
            if batch.content is None:
                without_content.update(batch.rows)
            elif not batch.released:
                root = None if batch.root_batch is None else state.batches.get(batch.root_batch)
                left += results_of(batch, batch.open_content, *stop_outcome(batch, root))
        # Of the rows since the last plan, those that are in the state already were swept above or have their result.
        left += [
            result
            for result in self.leftover_results()
            if result.row in without_content or state.unconfirmed_rows.is_disjoint((result.row,))
        ]
        if left:
            self._recorder.progress.swept.update(result.outcome for result in left)
            if self._journal.resumable:
                mark_provisional(left)
            self._results.put(left)


def _do_nothing() -> None:
    """Do nothing, until the run is connected."""


def _zero() -> int:
    """Return 0, until the run is connected."""
    return 0
