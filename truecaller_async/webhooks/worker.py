"""Worker: calls the handler with stored events, separately from the HTTP answer.

The sender got a 200 and does not repeat the event. So the worker retries failed handlers with full jitter, and parks
the event when the retry policy is exhausted. An exception of a handler never becomes an HTTP answer.

Algorithm:
    1. Claim an event: its row becomes CLAIMED before the handler is called.
    2. Call the handler: a coroutine function in the event loop, a plain function in a thread pool, so it may block.
    3. Store the result and claim the next event of the lane, in one transaction per event.
    Lanes are served in rotation: after `LANE_TURN_EVENTS` events of one lane the other lanes come first.
Failure modes:
    - The process dies during a call: the event stays CLAIMED, and the next process requeues it. If this happens more
      often than the policy and `EXTRA_CRASH_ATTEMPTS` allow, the event is parked, because it may kill the process.
    - A handler must therefore tolerate receiving an event twice; `event_id` identifies it.
    - `stop` handles ready events for a limited time, then cancels. The rest stays on disk for the next start.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import sqlite3
import traceback
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from random import Random
from typing import Any, TypeAlias

from truecaller_async.cancellation import is_being_cancelled
from truecaller_async.clock import Clock
from truecaller_async.errors import JournalError
from truecaller_async.redaction import redact
from truecaller_async.resilience.backoff import full_jitter
from truecaller_async.webhooks import event_queries
from truecaller_async.webhooks.event_queries import ClaimedEvent, HandlerResult
from truecaller_async.webhooks.event_store import EventStore
from truecaller_async.webhooks.events import Event, parse_event
from truecaller_async.webhooks.options import WebhookOptions

Handler: TypeAlias = Callable[[Event], Awaitable[object] | object]

POLL_INTERVAL_SECONDS = 0.5
"""Interval between checks of the store: another process can insert events without notice."""

CLEANUP_INTERVAL_SECONDS = 60.0
"""Interval between deletions of old events."""
LANE_TURN_EVENTS = 64
"""Events of one lane that are handled before the next lanes are served."""

EXTRA_CRASH_ATTEMPTS = 3
"""Attempts beyond the retry policy before an event is parked because its process died each time."""

CANCEL_WAIT_SECONDS = 1.0
"""Time for a cancelled handler to end."""

logger = logging.getLogger("truecaller_async.webhooks")


class Worker:
    """Calls the handler with events until it is stopped."""

    def __init__(self, store: EventStore, handler: Handler, options: WebhookOptions, clock: Clock) -> None:
        self._store = store
        self._handler = handler
        self._options = options
        self._clock = clock
        self._rng = Random()  # noqa: S311 - spreads retries, guards nothing
        self._threads = ThreadPoolExecutor(options.concurrency, thread_name_prefix="truecaller-handler")
        self._wakeup = asyncio.Event()
        self._lanes: dict[str, asyncio.Task[None]] = {}
        self._last_lane = ""
        self._stopping = False
        self._owns = False
        self._last_cleanup = float("-inf")
        self._task = asyncio.create_task(self._run())

    def wake(self) -> None:
        """Notify the worker that an event was inserted."""
        self._wakeup.set()

    async def stop(self) -> None:
        """Handle ready events for up to `finish_within` seconds, then cancel."""
        self._stopping = True
        self.wake()
        await asyncio.wait([self._task], timeout=self._options.finish_within)
        unfinished = [task for task in (self._task, *self._lanes.values()) if not task.done()]
        for task in unfinished:
            task.cancel()
        if unfinished:
            await asyncio.wait(unfinished, timeout=CANCEL_WAIT_SECONDS)
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _run(self) -> None:
        while True:
            wait = POLL_INTERVAL_SECONDS
            # Clear before the check: an insert during the check sets the event again, so no wakeup is lost.
            self._wakeup.clear()
            try:
                wait = await self._start_ready()
            except JournalError as error:
                logger.error("the store cannot be used, events are waiting: %s", error)
            if self._stopping and not self._lanes:
                return
            await self._wait_for_work(wait)

    async def _start_ready(self) -> float:
        """Start handlers for ready events; return the seconds until the next check."""
        if not await self._is_owner():
            return POLL_INTERVAL_SECONDS
        now = self._clock.wall()
        if free := self._options.concurrency - len(self._lanes):
            busy = tuple(self._lanes)
            claimed_events, due = await self._store.run(partial(self._claim_ready, now=now, busy=busy, limit=free))
            for claimed in claimed_events:
                self._start(claimed)
            await self._delete_old(now)
            return POLL_INTERVAL_SECONDS if due is None else min(POLL_INTERVAL_SECONDS, max(0.0, due - now))
        return POLL_INTERVAL_SECONDS

    def _claim_ready(
        self, db: sqlite3.Connection, now: float, busy: tuple[str, ...], limit: int
    ) -> tuple[list[ClaimedEvent], float | None]:
        event_queries.requeue_due(db, now, now + self._options.retry.cap)
        return event_queries.claim(db, self._last_lane, busy, limit), event_queries.next_due(db)

    async def _is_owner(self) -> bool:
        if not self._owns and self._store.try_acquire_lock():
            interrupted = await self._store.run(event_queries.requeue_interrupted)
            self._owns = True
            if interrupted:
                logger.warning(
                    "%d events requeued: the process ended during their handler, which may run twice", interrupted
                )
        return self._owns

    async def _delete_old(self, now: float) -> None:
        if now - self._last_cleanup < CLEANUP_INTERVAL_SECONDS:
            return
        options = self._options
        deleted = await self._store.run(
            lambda db: event_queries.delete_old(db, now - options.keep_for, options.keep_at_most)
        )
        if deleted < event_queries.DELETE_MAX_ROWS:
            self._last_cleanup = now

    async def _wait_for_work(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._wakeup.wait()
        except TimeoutError:
            pass

    def _start(self, claimed: ClaimedEvent) -> None:
        self._last_lane = claimed.lane
        task = self._lanes[claimed.lane] = asyncio.create_task(self._run_lane(claimed))
        task.add_done_callback(partial(self._lane_done, claimed.lane))

    def _lane_done(self, lane: str, _: asyncio.Task[None]) -> None:
        del self._lanes[lane]
        self.wake()

    async def _run_lane(self, first: ClaimedEvent) -> None:
        """Handle up to `LANE_TURN_EVENTS` events of one lane in order."""
        claimed: ClaimedEvent | None = first
        for turn in range(1, LANE_TURN_EVENTS + 1):
            if claimed is None:
                return
            result = await self._handle(claimed)
            claimed = await self._record_result(claimed, result, claim_next=turn < LANE_TURN_EVENTS)

    async def _record_result(
        self, event: ClaimedEvent, result: HandlerResult, *, claim_next: bool
    ) -> ClaimedEvent | None:
        """Store the result. Retry until it succeeds: otherwise the event would be handled again."""
        while True:
            try:
                return await self._store.run(
                    partial(event_queries.record_result, event=event, result=result, claim_next=claim_next)
                )
            except JournalError as error:
                logger.error("the result of a handled event is not stored yet: %s", error)
            # A cancelled task must end: the event stays CLAIMED and is requeued at the next start.
            if self._stopping and is_being_cancelled():
                return None
            await asyncio.sleep(POLL_INTERVAL_SECONDS)

    async def _handle(self, claimed: ClaimedEvent) -> HandlerResult:
        if claimed.attempts > self._options.retry.attempts + EXTRA_CRASH_ATTEMPTS:
            attempts = claimed.attempts - 1
            logger.error(
                "event parked after %d attempts: the process died during the last one. "
                "Check the handler, then call release()",
                attempts,
            )
            return HandlerResult(f"the process died during the last of {attempts} attempts")
        try:
            await self._call(parse_event(claimed.body))
        except asyncio.CancelledError as error:
            if is_being_cancelled():
                raise
            # Raised by the handler itself, for example by a cancelled task that it awaited.
            return self._failure(claimed, error)
        except (KeyboardInterrupt, GeneratorExit):
            raise  # the program ends; not a failure of the handler
        except BaseException as error:  # noqa: BLE001 - any exception of a handler is a failed attempt
            return self._failure(claimed, error)
        return HandlerResult()

    async def _call(self, event: Event) -> None:
        if inspect.iscoroutinefunction(self._handler) or inspect.iscoroutinefunction(
            getattr(self._handler, "__call__", None)  # noqa: B004 - an object with a coroutine function as __call__
        ):
            answer: Any = self._handler(event)
        else:
            answer = await asyncio.get_running_loop().run_in_executor(self._threads, self._handler, event)
        if inspect.isawaitable(answer):
            async with asyncio.timeout(self._options.handle_within):
                await answer

    def _failure(self, claimed: ClaimedEvent, error: BaseException) -> HandlerResult:
        text = describe_failure(error)
        retry, now = self._options.retry, self._clock.wall()
        retry_at = now + full_jitter(claimed.attempts, retry.initial, retry.cap, self._rng)
        if claimed.attempts >= retry.attempts or retry_at > claimed.received_at + retry.total:
            logger.error(
                "event parked after %d attempts: %s. Fix the handler, then call release()", claimed.attempts, text
            )
            return HandlerResult(text)
        logger.warning("the handler failed, attempt %d of %d: %s", claimed.attempts, retry.attempts, text)
        return HandlerResult(text, retry_at)


def describe_failure(error: BaseException) -> str:
    """Describe an exception for logs: short, with its position, and with phone numbers masked."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({frames[-1].filename.rpartition('/')[2]}:{frames[-1].lineno})" if frames else ""
    try:
        message = redact(str(error), 200)
    except Exception:  # noqa: BLE001 - str() of a handler's exception can fail
        message = None
    return f"{type(error).__name__}{': ' if message else ''}{message or ''}{where}"
