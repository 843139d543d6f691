"""Where the blocking client does its work: one event loop, in one daemon thread, with one async client.

A *stage* is that loop, thread and client, of one process. It is set up by the first call. Callers wait in their own
threads, so it does not matter whether a loop runs there (a notebook), or whether there are many of them.

A fork copies no threads: a child would wait for ever on a loop that nobody runs. So the *house*, which all copies of a
client share, keeps one stage for each process, and a child gets a fresh one. What the child has copied of its parent's
stage it must never touch, and never destroy either: to close the copy of a socket would take it out of the parent's
loop as well. Nobody does, because the frame of the parent's thread holds it all, and in a child nothing unwinds it.

The end. A stage leaves in good order: campaigns are aborted, tokens given up, the session closed, the rest cancelled.
`close` waits for that; a client that is thrown away without it warns and lets the stage leave by itself; at the end of
the interpreter what is left is given a few seconds, and no longer.
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
from truecaller_async.home import CLOSED, OTHER_PROCESS

if TYPE_CHECKING:
    from truecaller_async.engine import CampaignStream

T = TypeVar("T")

EXIT_GRACE = 5.0
"""Seconds in which clients that were not closed may leave in good order when the interpreter ends."""

MEANWHILE = "the client was closed while this call was waiting; whether it took effect is not known"
OWN_LOOP = (
    "a blocking call was made on the client's own event loop (by an observer or an async source), where it would wait "
    "for itself; make it in another thread, or use truecaller_async.TruecallerClient there"
)
NEVER_CLOSED = "a blocking TruecallerClient was used and never closed; write 'with', or close() in a finally"


class Stage:
    """The loop, the thread and the async client of one process. The client is made at once, the rest when needed."""

    def __init__(self, make: Callable[[], TruecallerClient]) -> None:
        self.client = make()
        self._pid = os.getpid()
        self._lock = threading.RLock()  # a signal handler may close what its own thread is about to use
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._leaving = False
        self._left: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._campaigns: set[CampaignStream] = set()

    def run(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do the work on the loop and wait for it. What interrupts the wait (Ctrl-C) cancels the work.

        Raises what the work raises; `ClientClosed` after or by a close; `ConfigError` on the loop's own thread.
        """
        future = self._begin(work)
        try:
            return future.result()
        except concurrent.futures.CancelledError:
            raise ClientClosed(MEANWHILE) from None
        finally:
            future.cancel()  # has no effect on what is done
            del future  # a traceback must not hold the error that holds it

    def keep(self, campaign: CampaignStream) -> None:
        """A campaign begins, and is to be aborted if the stage is left before it has ended."""
        self._campaigns.add(campaign)

    def forget(self, campaign: CampaignStream) -> None:
        """The campaign has ended."""
        self._campaigns.discard(campaign)

    def close(self) -> None:
        """Leave, and wait for it. May be called twice, and by several threads. Raises what the closing raises."""
        self._refuse_own_thread()
        self.leave()
        if self._thread is not None:
            self._thread.join()
            self._left.result()

    def leave(self) -> concurrent.futures.Future[None] | None:
        """Begin to leave, and do not wait; what is returned is done when it is over, None if it was not on."""
        if not self.is_here:
            return None
        with self._lock:
            first, self._leaving = not self._leaving, True
            if self._loop is None:
                return None
            if first:
                _departing.add(self)
                self._left.add_done_callback(lambda _: _departing.discard(self))
                self._loop.call_soon_threadsafe(self._loop.stop)
            return self._left

    @property
    def is_here(self) -> bool:
        """Whether it is of this process, and not of one before a fork."""
        return self._pid == os.getpid()

    @property
    def is_on(self) -> bool:
        """Whether it was set up in this process and does not leave yet."""
        return self._loop is not None and not self._leaving and self.is_here

    def _begin(self, work: Callable[[], Awaitable[T]]) -> concurrent.futures.Future[T]:
        if not self.is_here:
            raise ClientClosed(OTHER_PROCESS)
        self._refuse_own_thread()
        with self._lock:
            if self._leaving:
                raise ClientClosed(CLOSED)
            return asyncio.run_coroutine_threadsafe(_done(work), self._loop or self._set_up())

    def _set_up(self) -> asyncio.AbstractEventLoop:
        self._loop = loop = asyncio.new_event_loop()
        # The thread knows nothing of this object, so that a client that is thrown away can be noticed.
        parts = (loop, self.client, self._campaigns, self._left)
        self._thread = threading.Thread(target=_live, args=parts, name="truecaller loop", daemon=True)
        self._thread.start()
        _stages.add(self)
        return loop

    def _refuse_own_thread(self) -> None:
        if threading.current_thread() is self._thread:
            raise ConfigError(OWN_LOOP)


class House:
    """What the copies of one blocking client share: the stage of this process, and whether it is closed."""

    def __init__(self, make: Callable[[], TruecallerClient]) -> None:
        self._stages: dict[int, Stage] = {}
        self._closed = False
        self._make = make
        self.stage()

    def stage(self) -> Stage:
        """The stage of this process. Raises `ClientClosed` after the close."""
        if self._closed:
            raise ClientClosed(CLOSED)
        pid = os.getpid()
        # No lock of ours: a fork may copy it while another thread holds it. Of two stages made at once, one is kept.
        return self._stages.get(pid) or self._stages.setdefault(pid, Stage(self._make))

    def close(self) -> None:
        """Close the stage of this process, if there is one."""
        self._closed = True
        stage = self._stages.get(os.getpid())
        if stage is not None:
            stage.close()

    def __del__(self) -> None:
        stage = self._stages.get(os.getpid())
        if stage is not None and stage.is_on:
            warnings.warn(NEVER_CLOSED, ResourceWarning, stacklevel=2, source=self)
            stage.leave()


async def _done(work: Callable[[], Awaitable[T]]) -> T:
    return await work()


def _live(
    loop: asyncio.AbstractEventLoop,
    client: TruecallerClient,
    campaigns: set[CampaignStream],
    left: concurrent.futures.Future[None],
) -> None:
    """The thread: run the loop until it is stopped, then leave in good order."""
    asyncio.set_event_loop(loop)
    try:
        with contextlib.closing(loop):
            loop.run_forever()
            loop.run_until_complete(_leave(client, campaigns))
    except Exception as error:  # noqa: BLE001 - told to who waits for the close; there is nobody else
        left.set_exception(error)
    else:
        left.set_result(None)


async def _leave(client: TruecallerClient, campaigns: set[CampaignStream]) -> None:
    for campaign in tuple(campaigns):
        with contextlib.suppress(TruecallerError):
            await campaign.abort()
    try:
        await client.aclose()
    finally:
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)
        await asyncio.get_running_loop().shutdown_asyncgens()


_stages: weakref.WeakSet[Stage] = weakref.WeakSet()
_departing: set[Stage] = set()
"""A stage whose client was thrown away may still be busy leaving."""


@atexit.register
def _leave_at_exit() -> None:
    stages = {*_stages, *_departing}
    concurrent.futures.wait([left for stage in stages if (left := stage.leave()) is not None], EXIT_GRACE)
