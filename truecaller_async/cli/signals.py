"""Stop a campaign by signals, in a program that runs a single campaign.

The first SIGINT or SIGTERM drains: nothing more is read or sent, requests in flight finish. The second aborts: polling
ends as well. A request is never cancelled, because it would then be unknown whether it was applied. Signals belong to
the program: the library never installs handlers on its own, the command line does.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Protocol

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
"""Signals that stop a campaign."""


class Stoppable(Protocol):
    """An object that can be stopped in two steps, such as a `CampaignStream`."""

    async def drain(self) -> None:
        """Start nothing new."""
        ...

    async def abort(self) -> None:
        """Wait only for requests in flight."""
        ...


class SignalStop:
    """Stops a campaign step by step as signals arrive."""

    def __init__(self, stream: Stoppable, report: Callable[[int], None]) -> None:
        self._stream = stream
        self._report = report
        self._stop_tasks: list[asyncio.Task[None]] = []
        self.first_signal: signal.Signals | None = None
        """First signal received; None if there was none."""

    def on_signal(self, signum: signal.Signals) -> None:
        """Handle a signal: the first drains, the second aborts, later ones are ignored."""
        self.first_signal = self.first_signal or signum
        steps = (self._stream.drain, self._stream.abort)
        if len(self._stop_tasks) < len(steps):
            self._stop_tasks.append(asyncio.get_running_loop().create_task(steps[len(self._stop_tasks)]()))
            self._report(len(self._stop_tasks))

    async def wait_stopped(self) -> None:
        """Wait until the requested stops are complete."""
        await asyncio.gather(*self._stop_tasks)


@contextlib.contextmanager
def signal_handlers(handle: Callable[[signal.Signals], None]) -> Iterator[None]:
    """Call `handle` in the running loop on SIGINT and SIGTERM; restore the previous handlers at exit.

    Use it in the main thread only. If the loop does not support signal handlers (Windows), `signal.signal` is used.
    """
    loop = asyncio.get_running_loop()
    previous = {signum: signal.getsignal(signum) for signum in STOP_SIGNALS}
    for signum in STOP_SIGNALS:
        _install(loop, signum, handle)
    try:
        yield
    finally:
        for signum, handler in previous.items():
            with contextlib.suppress(NotImplementedError):
                loop.remove_signal_handler(signum)
            if handler is not None:
                signal.signal(signum, handler)


@contextlib.asynccontextmanager
async def stop_on_signals(stream: Stoppable, report: Callable[[int], None]) -> AsyncIterator[SignalStop]:
    """Stop the campaign on signals inside the block.

    Args:
        stream: Campaign to stop.
        report: Called with 1 when the campaign drains and with 2 when it aborts.
    """
    signal_stop = SignalStop(stream, report)
    with signal_handlers(signal_stop.on_signal):
        try:
            yield signal_stop
        finally:
            await signal_stop.wait_stopped()


def _install(loop: asyncio.AbstractEventLoop, signum: signal.Signals, handle: Callable[[signal.Signals], None]) -> None:
    try:
        loop.add_signal_handler(signum, handle, signum)
    except NotImplementedError:
        signal.signal(signum, lambda *_: loop.call_soon_threadsafe(handle, signum))
