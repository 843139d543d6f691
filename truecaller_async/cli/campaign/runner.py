"""Run one campaign: display its progress, write its results, and stop it on a signal.

Algorithm:
    The first SIGINT or SIGTERM drains the campaign, the second aborts it (`cli.signals`). In both cases the
    iteration continues until every row that was read has a result, so the summary is always complete.
    A second task renders the progress, flushes the results file, and drains the campaign if that file cannot be
    written.
Invariants:
    - The results file is closed after the stream, so it contains only results that the journal already contains.
    - Rows without a final outcome are written only if the campaign ran to its end.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from signal import Signals

import attrs
import click

from truecaller_async.campaign.stream import CampaignStream
from truecaller_async.cli.campaign.display_plain import Display, JsonDisplay, PlainDisplay
from truecaller_async.cli.campaign.failure_reasons import FailureReasons
from truecaller_async.cli.campaign.input_rows import InvalidRowPrinter
from truecaller_async.cli.campaign.progress_view import REASONS_MAX, ProgressView
from truecaller_async.cli.campaign.results_writer import ResultsWriter
from truecaller_async.cli.formatting import duration
from truecaller_async.cli.signals import stop_on_signals
from truecaller_async.errors import TruecallerError
from truecaller_async.models import RecordResult, Summary
from truecaller_async.telemetry import LoggingObserver

STANDARD_OUTPUT = "-"
CHECK_INTERVAL_SECONDS = 0.25
SIGNAL_NOTES = {
    1: "Stopping: nothing new is sent; polling continues for at most 30 s. Press Ctrl-C again to stop now.",
    2: "Stopping now: waiting only for requests in flight.",
}


class ClockOffsetObserver(LoggingObserver):
    """Log every event, and show one note if the local clock differs from the server's clock."""

    def __init__(self) -> None:
        self.note: Callable[[str], None] = _to_stderr
        """Shows a message to the user; replaced by the display while it is active."""

    def event(self, name: str, fields: Mapping[str, object]) -> None:
        """Log the event; show a note if it is `clock.offset_detected`."""
        super().event(name, fields)
        ahead_seconds = fields.get("server_ahead_seconds")
        if name == "clock.offset_detected" and isinstance(ahead_seconds, int | float):
            direction = "behind" if ahead_seconds > 0 else "ahead of"
            self.note(
                f"Note: the clock of this machine is {duration(abs(ahead_seconds))} {direction} the server's clock. "
                "The server's clock decides whether a window is open. Set the clock of this machine."
            )


def _to_stderr(text: str) -> None:
    click.echo(text, err=True)


@attrs.frozen
class RunEnd:
    """The end of one run."""

    summary: Summary
    """Counts of the whole campaign."""
    error: TruecallerError | None
    """The error that ended the run, of the campaign or of the results file; None if there was none."""
    signal: Signals | None
    """The first signal that stopped the run; None if there was none."""


def display_for(*, as_json: bool, stdout_is_taken: bool = False) -> Display:
    """Return the display for this environment: JSON, plain lines, or a live terminal display.

    Args:
        as_json: Write progress as JSON lines to stdout.
        stdout_is_taken: Results are written to stdout, so a live display on the same terminal would overwrite them.
    """
    if as_json:
        return JsonDisplay()
    if not sys.stderr.isatty() or (stdout_is_taken and sys.stdout.isatty()):
        return PlainDisplay()
    # rich is slow to import, and only a terminal needs it.
    from rich.console import Console

    from truecaller_async.cli.campaign.display_live import LiveDisplay

    console = Console(stderr=True, highlight=False)
    return PlainDisplay() if console.is_dumb_terminal else LiveDisplay(console)


@attrs.frozen
class CampaignRunner:
    """Consume a campaign stream: pass each result on, display the progress, handle signals."""

    display: Display
    """Shows the progress and notes."""
    results: ResultsWriter
    """Writes each result to the results file."""
    reasons: FailureReasons
    """Counts the failure reasons."""
    total: int | None = None
    """Expected number of rows; None if unknown."""
    on_result: Iterable[Callable[[RecordResult], None]] = ()
    """Called with every result."""
    journal_notes: Mapping[str, str] = attrs.field(factory=dict)
    """Stored in the journal before the first result."""
    started_note: str | None = None
    """Shown as soon as the campaign can be resumed."""

    async def run(self, stream: CampaignStream) -> RunEnd:
        """Run the campaign to its end.

        Returns:
            The summary, and the error or signal that ended the run.

        Raises:
            TruecallerError: The campaign could not be started, for example because its journal cannot be opened.
        """
        error: TruecallerError | None = None
        is_complete = False
        note = self.display.note
        for name, value in self.journal_notes.items():
            await stream.note(name, value)
        try:
            async with stream, stop_on_signals(stream, lambda count: note(SIGNAL_NOTES[count])) as stopping:
                watching = asyncio.create_task(self._watch(stream))
                try:
                    await self._consume(stream)
                except TruecallerError as raised:
                    error = raised
                finally:
                    watching.cancel()
                    with contextlib.suppress(asyncio.CancelledError):
                        await watching
                    await self.results.prepared()
            is_complete = error is None and stopping.first_signal is None and not stream.summary.unsent
        finally:
            self.results.close(is_complete=is_complete)
        self._render(stream)
        return RunEnd(stream.summary, error or self.results.error, stopping.first_signal)

    async def _consume(self, stream: CampaignStream) -> None:
        consumers = (self.results.record, self.reasons.record, *self.on_result)
        if self.started_note is not None:
            self.display.note(self.started_note)
        self.results.prepare()
        async for result in stream:
            for consume in consumers:
                consume(result)
            if self.results.is_full:
                await self.results.prepared()

    async def _watch(self, stream: CampaignStream) -> None:
        loop = asyncio.get_running_loop()
        render_at = loop.time() + self.display.first_seconds
        while True:
            await asyncio.sleep(min(CHECK_INTERVAL_SECONDS, self.display.first_seconds))
            self.results.flush()
            if self.results.error is not None:
                await stream.drain()
            if loop.time() >= render_at:
                self._render(stream)
                render_at = loop.time() + self.display.interval_seconds

    def _render(self, stream: CampaignStream) -> None:
        self.display.render(ProgressView(stream.progress, self.total, self.reasons.top(REASONS_MAX)))


def _unknown_line(_: int) -> None:
    return None


@attrs.frozen(kw_only=True)
class RunContext:
    """One run of a campaign from the command line, the first or a resumed one."""

    name: str
    """Name of the input in messages."""
    results_path: str | None
    """Path of the results file; `-` is stdout, None is no file."""
    journal: Path | None
    """Path of the journal; None if it is kept in memory."""
    as_json: bool
    """Write progress and summary as JSON lines."""
    results: ResultsWriter
    """Writes the results file."""
    reasons: FailureReasons = attrs.field(factory=FailureReasons)
    """Failure reasons, including those of earlier runs."""
    total: int | None = None
    """Expected number of rows; None if unknown."""
    line_of: Callable[[int], int | None] = _unknown_line
    """Returns the line number of a row; None if unknown."""
    journal_notes: Mapping[str, str] = attrs.field(factory=dict)
    """Notes to store in the journal."""

    @property
    def results_on_stdout(self) -> bool:
        """Return whether the results are written to stdout."""
        return self.results_path == STANDARD_OUTPUT

    async def run(self, stream: CampaignStream, display: Display) -> RunEnd:
        """Run the campaign to its end and print each invalid row.

        Raises:
            TruecallerError: The campaign could not be started.
        """
        invalid_rows = InvalidRowPrinter(self.name, self.line_of, display.note)
        started_note = None if self.journal is None else f"Journal: {self.journal}"
        runner = CampaignRunner(
            display,
            self.results,
            self.reasons,
            self.total,
            (invalid_rows.record,),
            self.journal_notes,
            started_note,
        )
        end = await runner.run(stream)
        invalid_rows.finish()
        return end
