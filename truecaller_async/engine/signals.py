"""Stopping a campaign by signals, for a program that is nothing but that campaign.

The first SIGINT or SIGTERM drains: nothing more is read or sent, what is in flight finishes. The second aborts: polling
ends as well. A request is never cancelled, whatever comes, because that would leave nobody knowing whether it was
applied. Signals belong to the program, so the library never takes them by itself; the command line does.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Protocol

STOPPING = (signal.SIGINT, signal.SIGTERM)


class Stoppable(Protocol):
    """What can be stopped in two steps: a `CampaignStream`."""

    async def drain(self) -> None:
        """Start nothing new."""
        ...

    async def abort(self) -> None:
        """Wait only for what is in flight."""
        ...


class Stopping:
    """What the signals have asked for so far. `first` is the signal that came first, None while there was none."""

    def __init__(self, stream: Stoppable, tell: Callable[[int], None]) -> None:
        self._stream = stream
        self._tell = tell
        self._acts: list[asyncio.Task[None]] = []
        self.first: signal.Signals | None = None

    def on_signal(self, signum: signal.Signals) -> None:
        """A signal came: drain, then abort; a third one can hasten nothing."""
        self.first = self.first or signum
        acts = (self._stream.drain, self._stream.abort)
        if len(self._acts) < len(acts):
            self._acts.append(asyncio.get_running_loop().create_task(acts[len(self._acts)]()))
            self._tell(len(self._acts))

    async def drained(self) -> None:
        """What was asked for is done."""
        await asyncio.gather(*self._acts)


@contextlib.contextmanager
def signal_handlers(handle: Callable[[signal.Signals], None]) -> Iterator[None]:
    """Inside, SIGINT and SIGTERM call `handle` in the running loop; afterwards the old handlers are back.

    For the main thread. Where the loop takes no signals (Windows), the interpreter's own handlers are used.
    """
    loop = asyncio.get_running_loop()
    old = {signum: signal.getsignal(signum) for signum in STOPPING}
    for signum in STOPPING:
        _catch(loop, signum, handle)
    try:
        yield
    finally:
        for signum, handler in old.items():
            with contextlib.suppress(NotImplementedError):
                loop.remove_signal_handler(signum)
            if handler is not None:
                signal.signal(signum, handler)


@contextlib.asynccontextmanager
async def stop_on_signals(stream: Stoppable, tell: Callable[[int], None]) -> AsyncIterator[Stopping]:
    """Inside, signals stop this campaign. `tell` is called with 1 when it drains and with 2 when it aborts."""
    stopping = Stopping(stream, tell)
    with signal_handlers(stopping.on_signal):
        try:
            yield stopping
        finally:
            await stopping.drained()


def _catch(loop: asyncio.AbstractEventLoop, signum: signal.Signals, handle: Callable[[signal.Signals], None]) -> None:
    try:
        loop.add_signal_handler(signum, handle, signum)
    except NotImplementedError:
        signal.signal(signum, lambda *_: loop.call_soon_threadsafe(handle, signum))
