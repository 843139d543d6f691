"""Run one async client on an event loop in a background thread; wait for it in other threads.

Algorithm:
    A `LoopThread` is the loop, the daemon thread and the async client of one process. The first call starts the thread.
    Callers wait in their own threads. The thread stops in this order: abort the campaigns, close the async client
    (release the tokens, close the session), cancel the remaining tasks, close the loop. `close()` waits for that.
Invariants:
    After `fork()` the loop thread does not exist in the child. `LoopThreadRegistry` keeps one `LoopThread` per pid; the
    child creates a new one. The inherited objects must not be used or closed: closing would unregister the parent's
    sockets from the parent's loop. They stay alive because the parent's thread frame, which is never unwound in the
    child, references them.
Failure modes:
    - If a client is garbage-collected without `close()`, it warns and its thread stops in the background.
    - At interpreter exit the threads that still run have `EXIT_GRACE_SECONDS` to stop.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import contextlib
import os
import threading
import warnings
import weakref
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from truecaller_async.client import TruecallerClient
from truecaller_async.errors import ClientClosed, ConfigError, TruecallerError
from truecaller_async.loop_binding import CLOSED, OTHER_PROCESS

if TYPE_CHECKING:
    from truecaller_async.campaign.stream import CampaignStream

T = TypeVar("T")

EXIT_GRACE_SECONDS = 5.0
"""How long interpreter exit waits for the threads of clients that were not closed."""

CLOSED_WHILE_WAITING = (
    "the call has no result: the client was closed while the call was waiting, so it may or may not have taken effect. "
    "Check before you repeat it."
)
CALLED_ON_OWN_LOOP = (
    "the blocking call was refused: it was made on the client's own event loop (by an observer or an async source), "
    "where it would wait for itself. Make it in another thread, or use truecaller_async.TruecallerClient there."
)
NEVER_CLOSED = (
    "a blocking TruecallerClient was used and never closed. Write 'with', or call close() in a finally block."
)


class LoopThread:
    """The event loop, the thread and the async client of one process.

    The client is made at once, the loop and the thread by the first call.
    """

    def __init__(self, make_client: Callable[[], TruecallerClient]) -> None:
        self.client = make_client()
        self._pid = os.getpid()
        # Reentrant: a signal handler may call close() while its own thread holds the lock.
        self._lock = threading.RLock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._stopping = False
        self._stopped: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._campaigns: set[CampaignStream] = set()

    def run(self, work: Callable[[], Awaitable[T]]) -> T:
        """Run the work on the loop and wait for its result.

        An exception that interrupts the wait (Ctrl-C) cancels the work.

        Args:
            work: Makes the awaitable; called on the loop.

        Returns:
            What the awaitable returns.

        Raises:
            ClientClosed: The loop thread is closed, is closed during the wait, or belongs to another process.
            ConfigError: The caller runs on the loop's own thread.
            BaseException: What the work raises.
        """
        future = self._submit(work)
        try:
            return future.result()
        except concurrent.futures.CancelledError:
            raise ClientClosed(CLOSED_WHILE_WAITING) from None
        finally:
            future.cancel()  # no effect if the work is done
            del future  # breaks the cycle: future -> exception -> traceback -> this frame -> future

    def track(self, campaign: CampaignStream) -> None:
        """Abort this campaign if the thread stops before `untrack()`."""
        self._campaigns.add(campaign)

    def untrack(self, campaign: CampaignStream) -> None:
        """Forget a campaign that has ended."""
        self._campaigns.discard(campaign)

    def close(self) -> None:
        """Stop the thread and wait until it has ended. May be called twice and by several threads.

        Raises:
            ConfigError: The caller runs on the loop's own thread.
            Exception: What closing the async client raises.
        """
        self._check_not_own_thread()
        self.request_stop()
        if self._thread is not None:
            self._thread.join()
            self._stopped.result()

    def request_stop(self) -> concurrent.futures.Future[None] | None:
        """Start to stop the thread; do not wait.

        Returns:
            A future that is done when the loop is closed. None if no thread was started in this process.
        """
        if not self.in_this_process:
            return None
        with self._lock:
            is_first, self._stopping = not self._stopping, True
            if self._loop is None:
                return None
            if is_first:
                # Strong reference: at exit the thread must be found even if its client was garbage-collected.
                _stopping_threads.add(self)
                self._stopped.add_done_callback(lambda _: _stopping_threads.discard(self))
                self._loop.call_soon_threadsafe(self._loop.stop)
            return self._stopped

    @property
    def in_this_process(self) -> bool:
        """False in a child process if it was made before the fork."""
        return self._pid == os.getpid()

    @property
    def is_running(self) -> bool:
        """True if its thread was started in this process and no stop was requested."""
        return self._loop is not None and not self._stopping and self.in_this_process

    def _submit(self, work: Callable[[], Awaitable[T]]) -> concurrent.futures.Future[T]:
        # Before the lock: in a forked child the inherited lock may be held by a thread that does not exist.
        if not self.in_this_process:
            raise ClientClosed(OTHER_PROCESS)
        self._check_not_own_thread()
        # Lost wake-up: work submitted after `loop.stop` would never run, and its caller would never return. The check
        # and the submission are under the lock that request_stop() takes, so that all work precedes the stop. The loop
        # runs it or cancels it during the shutdown.
        with self._lock:
            if self._stopping:
                raise ClientClosed(CLOSED)
            return asyncio.run_coroutine_threadsafe(_await(work), self._loop or self._start())

    def _start(self) -> asyncio.AbstractEventLoop:
        self._loop = loop = asyncio.new_event_loop()
        # The thread gets the parts and not `self`. Otherwise it would keep this object and the registry alive, and an
        # abandoned client would never be garbage-collected, so it could neither warn nor stop.
        parts = (loop, self.client, self._campaigns, self._stopped)
        self._thread = threading.Thread(target=_run_loop, args=parts, name="truecaller loop", daemon=True)
        self._thread.start()
        _started_threads.add(self)
        return loop

    def _check_not_own_thread(self) -> None:
        if threading.current_thread() is self._thread:
            raise ConfigError(CALLED_ON_OWN_LOOP)


class LoopThreadRegistry:
    """The loop threads of one blocking client and its copies, by pid.

    Args:
        make_client: Makes the async client of one process. It is called once at once, to check the settings, and once
            in each forked child that uses the client.

    Raises:
        ConfigError: A setting is wrong.
    """

    def __init__(self, make_client: Callable[[], TruecallerClient]) -> None:
        self._by_pid: dict[int, LoopThread] = {}  # before anything may raise: __del__ reads it
        self._closed = False
        self._make_client = make_client
        self.current()

    def current(self) -> LoopThread:
        """Return the loop thread of this process; make it if there is none.

        Raises:
            ClientClosed: The client was closed.
        """
        if self._closed:
            raise ClientClosed(CLOSED)
        pid = os.getpid()
        # No lock: a fork while another thread holds it would leave it locked in the child. If two threads make
        # a LoopThread at once, the atomic `setdefault` keeps one for both; the other has no thread and no socket yet.
        return self._by_pid.get(pid) or self._by_pid.setdefault(pid, LoopThread(self._make_client))

    def close(self) -> None:
        """Close the loop thread of this process, if there is one, and refuse new work.

        Raises:
            ConfigError: The caller runs on the loop's own thread.
            Exception: What closing the async client raises.
        """
        self._closed = True
        loop_thread = self._by_pid.get(os.getpid())
        if loop_thread is not None:
            loop_thread.close()

    def __del__(self) -> None:
        # Only the entry of this process: those of a parent must not be touched (see the invariants above).
        loop_thread = self._by_pid.get(os.getpid())
        if loop_thread is not None and loop_thread.is_running:
            warnings.warn(NEVER_CLOSED, ResourceWarning, stacklevel=2, source=self)
            loop_thread.request_stop()


async def _await(work: Callable[[], Awaitable[T]]) -> T:
    return await work()


def _run_loop(
    loop: asyncio.AbstractEventLoop,
    client: TruecallerClient,
    campaigns: set[CampaignStream],
    stopped: concurrent.futures.Future[None],
) -> None:
    asyncio.set_event_loop(loop)
    try:
        with contextlib.closing(loop):
            loop.run_forever()  # until request_stop()
            loop.run_until_complete(_shut_down(client, campaigns))
    except Exception as error:  # noqa: BLE001 - close() raises it in the caller's thread
        stopped.set_exception(error)
    else:
        stopped.set_result(None)  # after the loop is closed: nothing of the client is open any more


async def _shut_down(client: TruecallerClient, campaigns: set[CampaignStream]) -> None:
    # Campaigns first: their requests in flight need the tokens and the session. One that fails must not stop the rest.
    for campaign in tuple(campaigns):
        with contextlib.suppress(TruecallerError):
            await campaign.abort()
    try:
        # Before the remaining tasks are cancelled: calls in flight then end with the error of a closed client
        # (`ResponseLost`, `ClientClosed`), which says whether the request was sent.
        await client.aclose()
    finally:
        # Callers that still wait get a cancelled future. Without this they would wait without end.
        remaining = asyncio.all_tasks() - {asyncio.current_task()}
        for task in remaining:
            task.cancel()
        await asyncio.gather(*remaining, return_exceptions=True)
        await asyncio.get_running_loop().shutdown_asyncgens()


_started_threads: weakref.WeakSet[LoopThread] = weakref.WeakSet()
_stopping_threads: set[LoopThread] = set()


@atexit.register
def _stop_at_exit() -> None:
    # In a forked child this finds the parent's loop threads too; request_stop() ignores them.
    loop_threads = {*_started_threads, *_stopping_threads}
    futures = [stopped for one in loop_threads if (stopped := one.request_stop()) is not None]
    concurrent.futures.wait(futures, EXIT_GRACE_SECONDS)
