"""Record what happens: apply entries, hand them to the journal, queue results at the commit.

Algorithm:
    A transaction applies each entry at once, so the next decision sees it. At its end the entries are handed to the
    journal, the changed batches are placed in the work queue, and the results wait for the commit. There is no `await`
    in between, so the order on the disk is the order of `apply`.
Invariants:
    - What is durable is always a prefix of what was applied, in whole transactions. So a caller that waits for one
      transaction waits for all before it. Only a POST waits (for its `AttemptStarted`), and a note.
    - A result is final if its outcome is durable, or if the journal keeps nothing.
    - Results are queued in the order of their transactions, whatever fails.
Failure modes:
    - The first failed write ends the run (`on_failure`). Nothing is stored any more; the state goes on in memory, and
      later results are not final. The next run loads what the journal has.
    - An entry that the state refuses is a defect: what the transaction had applied is not stored, and nothing later is.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Self

from truecaller_async.campaign.core.batch import CampaignBatch
from truecaller_async.campaign.core.batch_content import BatchContent
from truecaller_async.campaign.core.campaign_state import CampaignState
from truecaller_async.campaign.core.work_queue import WorkQueue
from truecaller_async.campaign.progress import RunProgress
from truecaller_async.campaign.result_queue import ResultQueue
from truecaller_async.errors import JournalError
from truecaller_async.models import BatchResults, ResultList
from truecaller_async.models.journal_entries import BatchReleased, JournalEntry, RowsSettled
from truecaller_async.ports import Journal

UNCONFIRMED_MAX = 256
"""Transactions handed to the journal and not confirmed, above which nothing new is read or sent."""


class Transaction:
    """Entries that become durable together. Use it in `with`; it ends without waiting."""

    __slots__ = ("_recorder", "at_end", "changed", "durable", "entries", "is_stored", "results")

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self.entries: list[JournalEntry] = []
        """The entries that a journal stores, applied already."""
        self.changed: dict[int, CampaignBatch] = {}
        """The batches that they changed, by number."""
        self.results: list[tuple[ResultList, bool]] = []
        """Results for the consumer, and whether they are final once the entries are durable."""
        self.is_stored = False
        """Whether an entry is stored by a journal."""
        self.at_end: Callable[[], None] = _do_nothing
        """Called when the batches are placed, before anything else is sent: it may stop the run."""
        self.durable: asyncio.Future[None] | None = None
        """After the end: done when the entries are durable; None if there is nothing to wait for."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if error is None:
            self.durable = self._recorder.commit(self)
        else:
            self._recorder.discard(self, error)

    def add(self, *entries: JournalEntry) -> None:
        """Apply entries. Raises `JournalError` for one that is not possible."""
        recorder = self._recorder
        for entry in entries:
            for batch in recorder.state.apply(entry):
                self.changed[batch.seq] = batch
            recorder.progress.count(entry)
            if type(entry) is not BatchReleased:
                self.is_stored = True
                self.entries.append(entry)

    def plan(self, entry: JournalEntry, seq: int, content: BatchContent) -> CampaignBatch:
        """Apply the plan of a new batch and attach its records."""
        self.add(entry)
        batch = self.changed[seq]
        batch.attach(content)
        return batch

    def add_results(self, results: ResultList, entries: Iterable[RowsSettled]) -> None:
        """Apply the entries that settle these results, and give them to the consumer.

        If an entry raises, the results of the entries before it are given to the consumer: they have their outcome.
        """
        applied: set[int] = set()
        try:
            for entry in entries:
                self.add(entry)
                applied.update(entry.rows)
        except BaseException:
            self.deliver([result for result in results if result.row in applied])
            raise
        self.deliver(results)

    def deliver(self, results: ResultList, *, final: bool = True) -> None:
        """Give results to the consumer once the entries are durable.

        Args:
            results: The results.
            final: False if a later run may continue with their rows.
        """
        if results:
            self.results.append((results, final))


class Recorder:
    """The only writer of the state, the journal and the result queue of one run.

    Args:
        state: The state of the campaign.
        journal: The open journal.
        queue: The work queue.
        results: The queue of the consumer.
        progress: The figures of the run.
    """

    def __init__(
        self, state: CampaignState, journal: Journal, queue: WorkQueue, results: ResultQueue, progress: RunProgress
    ) -> None:
        self.state = state
        """The state of the campaign."""
        self.progress = progress
        """The figures of the run."""
        self.failure: Exception | None = None
        """The error after which nothing is stored."""
        self.on_failure: Callable[[Exception], None] = _ignore
        """Called with the first failure of the journal."""
        self.on_recorded: Callable[[Iterable[CampaignBatch]], None] = _ignore
        """Called after each transaction with the batches that it changed."""
        self.on_confirmed: Callable[[], None] = _do_nothing
        """Called when transactions became durable."""
        self._journal = journal
        self._is_resumable = journal.resumable
        self._queue = queue
        self._results = results
        self._loop = asyncio.get_running_loop()
        self._is_open = False
        self._failure_reported = False
        self._defect: Exception | None = None
        self._unconfirmed: deque[tuple[asyncio.Future[None], list[tuple[ResultList, bool]]]] = deque()

    @property
    def unconfirmed_count(self) -> int:
        """Return the number of transactions that the journal has not confirmed."""
        return len(self._unconfirmed)

    @property
    def is_behind(self) -> bool:
        """Return whether so much is unconfirmed that nothing new may be read or sent."""
        return len(self._unconfirmed) >= UNCONFIRMED_MAX

    def transaction(self) -> Transaction:
        """Begin a transaction. Only one can be open: entries are stored in the order of `apply`."""
        if self._is_open:
            raise AssertionError("a transaction is open already")
        self._is_open = True
        return Transaction(self)

    def record(self, *entries: JournalEntry) -> asyncio.Future[None] | None:
        """Record entries in a transaction of their own.

        Returns:
            A future that is done when they are durable, and fails with `JournalError`. None if there is nothing to
            wait for.
        """
        with self.transaction() as transaction:
            transaction.add(*entries)
        return transaction.durable

    async def flush(self) -> None:
        """Wait until everything that was recorded is confirmed or has failed."""
        while self._unconfirmed:
            # The oldest one: a later write may have failed already, while this one is still on its way.
            await asyncio.wait([self._unconfirmed[0][0]])
            await asyncio.sleep(0)  # lets `_confirm` run

    def commit(self, transaction: Transaction) -> asyncio.Future[None] | None:
        """Hand the entries of a transaction to the journal, place its batches and queue its results."""
        self._is_open = False
        durable = self._hand_over(transaction) if transaction.is_stored else None
        now = self._loop.time()
        try:
            for batch in transaction.changed.values():
                self._queue.place(batch, now)
        finally:  # also after a defect of the queue: the results of what was applied are delivered
            if durable is not None:
                self._unconfirmed.append((durable, transaction.results))
                durable.add_done_callback(self._confirm)
            else:
                self._deliver(transaction.results, is_durable=True)
        self._report_failure()
        transaction.at_end()
        self.on_recorded(transaction.changed.values())
        return durable

    def discard(self, transaction: Transaction, error: BaseException) -> None:
        """End a transaction in which an error was raised: store nothing of it, and nothing later."""
        self._is_open = False
        # Also those of an entry that is not stored: its rows have their outcome in the state.
        self._deliver(transaction.results, is_durable=False)
        if transaction.entries:
            self._set_failure(JournalError(f"internal error: a transaction was not completed ({type(error).__name__})"))
            self._defect = error if isinstance(error, Exception) else None
            self._report_failure()

    def _hand_over(self, transaction: Transaction) -> asyncio.Future[None] | None:
        if self.failure is None:
            try:
                return self._append(transaction)
            except Exception as error:  # noqa: BLE001 - also a defect of the journal must not lose results
                self._set_failure(error)
        return self._failed_future()

    def _append(self, transaction: Transaction) -> asyncio.Future[None] | None:
        if self._is_resumable and (cost := self.progress.cost_entry_if_due()) is not None:
            transaction.add(cost)
        return self._journal.append(transaction.entries, transaction.changed.values())

    def _failed_future(self) -> asyncio.Future[None]:
        failed: asyncio.Future[None] = self._loop.create_future()
        failed.set_exception(self.failure or JournalError("the journal is closed. Open it again."))
        failed.exception()  # marks it as retrieved: most callers do not wait
        return failed

    def _confirm(self, _: asyncio.Future[None]) -> None:
        # Futures of one journal end in order, but their callbacks may not: take all that are done.
        while self._unconfirmed and self._unconfirmed[0][0].done():
            durable, results = self._unconfirmed.popleft()
            error = _error_of(durable)
            if error is not None:
                self._set_failure(error)
            self._deliver(results, is_durable=self.failure is None)
        self._report_failure()
        self.on_confirmed()

    def _set_failure(self, error: Exception) -> None:
        self.failure = self.failure or error

    def _report_failure(self) -> None:
        # At the end of a step: `on_failure` records more, and must find the batches of this step in the queue.
        if self.failure is not None and not self._failure_reported:
            self._failure_reported = True
            self.on_failure(self._defect or self.failure)

    def _deliver(self, results: list[tuple[ResultList, bool]], *, is_durable: bool) -> None:
        for one, final in results:
            if not (final or not self._is_resumable) or not is_durable:
                mark_provisional(one)
            self._results.put(one)


async def wait_durable(durable: asyncio.Future[None] | None) -> None:
    """Wait until a transaction is durable. It is written also if the caller is cancelled.

    Raises:
        JournalError: It could not be written.
    """
    if durable is None:
        return
    await asyncio.wait([durable])  # does not cancel the future, as `await durable` would
    error = _error_of(durable)
    if error is not None:
        raise error


def mark_provisional(results: ResultList) -> None:
    """Mark results that a later run may change."""
    for result in [results] if isinstance(results, BatchResults) else results:
        result.final = False


def _error_of(future: asyncio.Future[None]) -> Exception | None:
    if future.cancelled():
        return JournalError("the journal was closed before a write was complete. Resume the campaign.")
    error = future.exception()
    return error if error is None or isinstance(error, Exception) else JournalError(f"the journal failed: {error}")


def _ignore(_: object) -> None:
    """Do nothing, until the run is connected."""


def _do_nothing() -> None:
    """Do nothing, until the run is connected."""
