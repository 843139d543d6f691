"""Live progress display on a terminal, redrawn four times per second.

It is drawn on stderr, at most 80 columns wide, so stdout can be redirected to a file. Notes are printed above it. When
the campaign has ended, only the two progress bars remain.
"""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from truecaller_async.cli.campaign.progress_view import ProgressView
from truecaller_async.cli.formatting import number

BAR_WIDTH = 30
MAX_WIDTH = 80


class LiveDisplay:
    """Display for a terminal."""

    first_seconds = 0.1
    interval_seconds = 0.25

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True, highlight=False)
        self._live = Live(console=self._console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False)

    def render(self, view: ProgressView) -> None:
        """Redraw the progress."""
        self._live.update(drawing(view), refresh=True)

    def note(self, text: str) -> None:
        """Print a message above the progress."""
        self._console.print(Text(text), soft_wrap=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()


def drawing(view: ProgressView) -> RenderableType:
    """Return the drawing of the progress: two bars, and the details while the campaign runs."""
    progress = view.progress
    bars = Table.grid(padding=(0, 2, 0, 0))
    _add_bar(bars, view, "sent", progress.sent, view.sendable)
    _add_bar(bars, view, "resolved", progress.resolved, view.rows)
    if progress.finished:
        return bars
    return Group(bars, _details(view))


def _add_bar(bars: Table, view: ProgressView, name: str, count: int, total: int | None) -> None:
    bar = ProgressBar(total=total, completed=count, width=BAR_WIDTH, pulse=total is None)
    percent = f"{100 * count // total}%" if total else ""
    bars.add_row(f"{name:8}", bar, view.part_of(count, total), percent)


def _details(view: ProgressView) -> Table:
    details = Table.grid(padding=(0, 2, 0, 0))
    details.width = MAX_WIDTH
    details.add_column(no_wrap=True)
    details.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    details.add_row(f"{'rate':8}", view.rate)
    details.add_row("tokens", view.tokens)
    for index, sentence in enumerate(view.waiting):
        details.add_row("waiting" if index == 0 else "", Text(sentence, style="yellow"))
    for index, (count, reason) in enumerate(view.reasons):
        details.add_row("failures" if index == 0 else "", Text(f"{number(count)}  {reason}"))
    return details
