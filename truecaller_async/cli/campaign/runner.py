"""A campaign while it runs: every result goes to whoever wants it, and from time to time somebody looks at the whole.

The first signal drains the campaign and the second aborts it (`engine.signals`); either way the iteration goes on
until every record has its result, so the account is complete however it ended. The file of results is closed only
when the journal has heard of everything that is in it.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Callable, Iterable, Mapping
from signal import Signals

import attrs

from truecaller_async.cli.campaign.display_plain import Display, JsonDisplay, PlainDisplay
from truecaller_async.cli.campaign.failure_reasons import FailureReasons
from truecaller_async.cli.campaign.progress_view import REASONS_SHOWN, ProgressView
from truecaller_async.cli.campaign.results_writer import ResultsWriter
from truecaller_async.engine import CampaignStream
from truecaller_async.engine.signals import stop_on_signals
from truecaller_async.errors import TruecallerError
from truecaller_async.models import RecordResult, Summary

LOOK_EVERY = 0.25
TOLD_ON_SIGNAL = {
    1: "Stopping: nothing new is sent, 30 s more at most. Once more to stop now.",
    2: "Stopping now: only requests that are on their way are awaited.",
}


@attrs.frozen
class RunEnd:
    """How a campaign ended: its account, the fault that ended it, and the signal that stopped it."""

    summary: Summary
    fault: TruecallerError | None
    signal: Signals | None


def display_for(*, as_json: bool, stdout_is_taken: bool = False) -> Display:
    """The display for where we are: a program, a log, or a person at a terminal."""
    if as_json:
        return JsonDisplay()
    if not sys.stderr.isatty() or (stdout_is_taken and sys.stdout.isatty()):
        return PlainDisplay()
    from rich.console import Console

    from truecaller_async.cli.campaign.display_live import LiveDisplay

    console = Console(stderr=True, highlight=False)
    return PlainDisplay() if console.is_dumb_terminal else LiveDisplay(console)


@attrs.frozen
class CampaignRunner:
    """Who looks on.

    `notes` are called with every result; `total` is how many rows are expected; `remembered` is noted in the journal,
    and `begun` told when that is done: from then on the campaign can be resumed.
    """

    display: Display
    recorder: ResultsWriter
    reasons: FailureReasons
    total: int | None = None
    notes: Iterable[Callable[[RecordResult], None]] = ()
    remembered: Mapping[str, str] = attrs.field(factory=dict)
    begun: str | None = None

    async def over(self, stream: CampaignStream) -> RunEnd:
        """Run the campaign to its end. What is no fault of the run is raised."""
        fault: TruecallerError | None = None
        was_whole = False
        tell = self.display.note
        for name, value in self.remembered.items():
            await stream.note(name, value)
        try:
            async with stream, stop_on_signals(stream, lambda times: tell(TOLD_ON_SIGNAL[times])) as stopping:
                looking = asyncio.create_task(self._look(stream))
                try:
                    await self._take_all(stream)
                except TruecallerError as error:
                    fault = error
                finally:
                    looking.cancel()
                    with contextlib.suppress(asyncio.CancelledError):
                        await looking
                    await self.recorder.prepared()
            was_whole = fault is None and stopping.first_signal is None and not stream.summary.unsent
        finally:
            self.recorder.close(is_whole=was_whole)
        self._show(stream)
        return RunEnd(stream.summary, fault or self.recorder.fault, stopping.first_signal)

    async def _take_all(self, stream: CampaignStream) -> None:
        """Every result to everybody, at the pace of the file of results."""
        takers = (self.recorder.record, self.reasons.record, *self.notes)
        if self.begun is not None:
            self.display.note(self.begun)
        self.recorder.prepare()
        async for result in stream:
            for take in takers:
                take(result)
            if self.recorder.is_full:
                await self.recorder.prepared()

    async def _look(self, stream: CampaignStream) -> None:
        """Show the progress when it is due, write what was held, and stop what cannot be recorded any more."""
        loop = asyncio.get_running_loop()
        due = loop.time() + self.display.first
        while True:
            await asyncio.sleep(min(LOOK_EVERY, self.display.first))
            self.recorder.flush()
            if self.recorder.fault is not None:
                await stream.drain()
            if loop.time() >= due:
                self._show(stream)
                due = loop.time() + self.display.every

    def _show(self, stream: CampaignStream) -> None:
        self.display.render(ProgressView(stream.progress, self.total, self.reasons.top(REASONS_SHOWN)))
