"""Progress on a terminal: a few lines that stay where they are, redrawn four times a second.

It is drawn on stderr, so that stdout can go to a file meanwhile, and no wider than 80 columns. Notes are printed above
it. At the end only the two bars are left.
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
WIDTH = 80


class LiveDisplay:
    """The display for a person who looks on."""

    first = 0.1
    every = 0.25

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True, highlight=False)
        self._live = Live(console=self._console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False)

    def render(self, course: ProgressView) -> None:
        """Draw it anew."""
        self._live.update(picture(course), refresh=True)

    def note(self, text: str) -> None:
        """Above the bars."""
        self._console.print(Text(text), soft_wrap=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()


def picture(course: ProgressView) -> RenderableType:
    """What is drawn."""
    progress = course.progress
    bars = Table.grid(padding=(0, 2, 0, 0))
    _bar(bars, course, "sent", progress.sent, course.sendable)
    _bar(bars, course, "resolved", progress.resolved, course.rows)
    if progress.finished:
        return bars
    return Group(bars, _facts(course))


def _bar(bars: Table, course: ProgressView, name: str, count: int, whole: int | None) -> None:
    bar = ProgressBar(total=whole, completed=count, width=BAR_WIDTH, pulse=whole is None)
    share = f"{100 * count // whole}%" if whole else ""
    bars.add_row(f"{name:8}", bar, course.part_of(count, whole), share)


def _facts(course: ProgressView) -> Table:
    facts = Table.grid(padding=(0, 2, 0, 0))
    facts.width = WIDTH
    facts.add_column(no_wrap=True)
    facts.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    facts.add_row(f"{'rate':8}", course.rate)
    facts.add_row("tokens", course.tokens)
    for place, sentence in enumerate(course.waiting):
        facts.add_row("waiting" if place == 0 else "", Text(sentence, style="yellow"))
    for place, (count, reason) in enumerate(course.reasons):
        facts.add_row("failures" if place == 0 else "", Text(f"{number(count)}  {reason}"))
    return facts
