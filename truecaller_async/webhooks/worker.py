"""Handling: what was written down goes to the handler, after the answer and apart from it.

The sender has its 200 and is gone, so from here on nobody else tries again: what fails is tried again by us, with full
jitter, and parked when the policy is through. A handler that fails is the program's own matter and never an answer.

A handler that is a coroutine function runs in the loop; a plain function runs in a thread of its own pool, so that it
may block. Before each call the ledger says BEGUN, after it HANDLED, and the mark takes the next event of the lane
along: one transaction for each event. A process that dies in between leaves BEGUN: the next one hands it out again,
and parks it where that goes on beyond the policy, lest one event keep killing the process.
A handler must therefore bear to see one event twice; it can tell by `event_id`.

A stop first lets what is ready be handled, up to a bound, then lets go: what is left waits on disk for the next start.
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
"""Seconds after which the ledger is looked at without being told: another process may have written into it."""

CLEANUP_INTERVAL_SECONDS = 60.0
LANE_TURN_EVENTS = 64
"""Events after which a lane makes room for the others."""

EXTRA_CRASH_ATTEMPTS = 3
"""How often a process may die over an event beyond the attempts that the policy allows a handler that fails."""

CANCEL_WAIT_SECONDS = 1.0
"""Seconds in which a handler that was cancelled should have ended."""

logger = logging.getLogger("truecaller_async.webhooks")


class Worker:
    """Hands events to the handler until it is stopped."""

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
        """Something was written down."""
        self._wakeup.set()

    async def stop(self) -> None:
        """Handle what is ready, up to the bound, then let go."""
        self._stopping = True
        self.wake()
        await asyncio.wait([self._task], timeout=self._options.finish_within)
        left = [task for task in (self._task, *self._lanes.values()) if not task.done()]
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left, timeout=CANCEL_WAIT_SECONDS)
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _run(self) -> None:
        while True:
            wait = POLL_INTERVAL_SECONDS
            self._wakeup.clear()
            try:
                wait = await self._start_ready()
            except JournalError as error:
                logger.error("events wait: %s", error)
            if self._stopping and not self._lanes:
                return
            await self._wait_for_work(wait)

    async def _start_ready(self) -> float:
        """Start what can be started; the seconds until there may be more."""
        if not await self._is_owner():
            return POLL_INTERVAL_SECONDS
        now = self._clock.wall()
        if free := self._options.concurrency - len(self._lanes):
            busy = tuple(self._lanes)
            found, due = await self._store.run(partial(self._claim_ready, now=now, busy=busy, limit=free))
            for work in found:
                self._start(work)
            await self._delete_old(now)
            return POLL_INTERVAL_SECONDS if due is None else min(POLL_INTERVAL_SECONDS, max(0.0, due - now))
        return POLL_INTERVAL_SECONDS

    def _claim_ready(
        self, db: sqlite3.Connection, now: float, busy: tuple[str, ...], limit: int
    ) -> tuple[list[ClaimedEvent], float | None]:
        event_queries.requeue_due(db, now, now + self._options.retry.cap)
        return event_queries.claim(db, self._last_lane, busy, limit), event_queries.next_due(db)

    async def _is_owner(self) -> bool:
        if not self._owns and self._store.try_own():
            again = await self._store.run(event_queries.requeue_interrupted)
            self._owns = True
            if again:
                logger.warning("%d events were with a handler when a process died, and are handled again", again)
        return self._owns

    async def _delete_old(self, now: float) -> None:
        if now - self._last_cleanup < CLEANUP_INTERVAL_SECONDS:
            return
        options = self._options
        forgotten = await self._store.run(
            lambda db: event_queries.delete_old(db, now - options.keep_for, options.keep_at_most)
        )
        if forgotten < event_queries.DELETE_MAX_ROWS:
            self._last_cleanup = now

    async def _wait_for_work(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._wakeup.wait()
        except TimeoutError:
            pass

    def _start(self, work: ClaimedEvent) -> None:
        self._last_lane = work.lane
        task = self._lanes[work.lane] = asyncio.create_task(self._run_lane(work))
        task.add_done_callback(partial(self._lane_done, work.lane))

    def _lane_done(self, lane: str, _: asyncio.Task[None]) -> None:
        del self._lanes[lane]
        self.wake()

    async def _run_lane(self, work: ClaimedEvent) -> None:
        """One lane: an event, and the next, and the next, until it is the others' turn."""
        following: ClaimedEvent | None = work
        for turn in range(1, LANE_TURN_EVENTS + 1):
            if following is None:
                return
            ending = await self._handle(following)
            following = await self._record_result(following, ending, claim_next=turn < LANE_TURN_EVENTS)

    async def _record_result(
        self, event: ClaimedEvent, result: HandlerResult, *, claim_next: bool
    ) -> ClaimedEvent | None:
        """Written down, however long it takes: without the mark it would be handled again."""
        while True:
            try:
                return await self._store.run(
                    partial(event_queries.record_result, event=event, result=result, claim_next=claim_next)
                )
            except JournalError as error:
                logger.error("a handled event waits for its mark: %s", error)
            if self._stopping and _is_being_cancelled():
                return None
            await asyncio.sleep(POLL_INTERVAL_SECONDS)

    async def _handle(self, claimed: ClaimedEvent) -> HandlerResult:
        if claimed.attempts > self._options.retry.attempts + EXTRA_CRASH_ATTEMPTS:
            logger.error("an event is parked: the process ended %d times while it was handled", claimed.attempts - 1)
            return HandlerResult("the process ended each time while this event was handled")
        try:
            await self._call(parse_event(claimed.body))
        except asyncio.CancelledError as error:
            if _is_being_cancelled():
                raise
            return self._failure(claimed, error)  # the handler's own, such as of a task that it awaited
        except (KeyboardInterrupt, GeneratorExit):
            raise  # the program's end, and no doing of the handler's
        except BaseException as error:  # noqa: BLE001 - whatever a handler raises is a failed try, and is told
            return self._failure(claimed, error)
        return HandlerResult()

    async def _call(self, event: Event) -> None:
        if inspect.iscoroutinefunction(self._handler) or inspect.iscoroutinefunction(
            getattr(self._handler, "__call__", None)  # noqa: B004 - an object whose call is a coroutine function
        ):
            answer: Any = self._handler(event)
        else:
            answer = await asyncio.get_running_loop().run_in_executor(self._threads, self._handler, event)
        if inspect.isawaitable(answer):
            async with asyncio.timeout(self._options.handle_within):
                await answer

    def _failure(self, claimed: ClaimedEvent, error: BaseException) -> HandlerResult:
        fault = describe_failure(error)
        retry, now = self._options.retry, self._clock.wall()
        due = now + full_jitter(claimed.attempts, retry.initial, retry.cap, self._rng)
        if claimed.attempts >= retry.attempts or due > claimed.received + retry.total:
            logger.error("an event is parked after %d attempts: %s", claimed.attempts, fault)
            return HandlerResult(fault)
        logger.warning("the handler failed, attempt %d of %d: %s", claimed.attempts, retry.attempts, fault)
        return HandlerResult(fault, due)


def describe_failure(error: BaseException) -> str:
    """What went wrong and where in the handler, as a log may have it: short, with numbers masked."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({frames[-1].filename.rpartition('/')[2]}:{frames[-1].lineno})" if frames else ""
    try:
        said = redact(str(error), 200)
    except Exception:  # noqa: BLE001 - an exception of the handler's that cannot say what it is
        said = None
    return f"{type(error).__name__}{': ' if said else ''}{said or ''}{where}"


def _is_being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
