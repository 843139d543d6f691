"""Progress without a terminal: plain lines on stderr, or JSON lines on stdout.

The first line is written after one second, then one line every ten seconds.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Protocol, Self

import attrs
import click

from truecaller_async.cli.campaign.progress_view import ProgressView
from truecaller_async.models import Summary

FIRST_SECONDS = 1.0
INTERVAL_SECONDS = 10.0


class Display(Protocol):
    """Shows the progress of a campaign and notes to the user. A context manager."""

    first_seconds: float
    """Seconds from the start to the first `render`."""
    interval_seconds: float
    """Seconds between two calls of `render`."""

    def render(self, view: ProgressView) -> None:
        """Show the current progress.

        Args:
            view: The progress at this moment.
        """
        ...

    def note(self, text: str) -> None:
        """Show a message to the user immediately.

        Args:
            text: One or more lines.
        """
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class PlainDisplay:
    """Display that writes plain lines to stderr."""

    first_seconds = FIRST_SECONDS
    interval_seconds = INTERVAL_SECONDS

    def render(self, view: ProgressView) -> None:
        """Write one line, unless the campaign has ended."""
        if not view.progress.finished:
            click.echo(progress_line(view), err=True)

    def note(self, text: str) -> None:
        """Write a message to stderr."""
        click.echo(text, err=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


class JsonDisplay(PlainDisplay):
    """Display that writes progress as JSON lines to stdout, and notes to stderr."""

    def render(self, view: ProgressView) -> None:
        """Write one event, unless the campaign has ended."""
        if not view.progress.finished:
            click.echo(json.dumps(progress_event(view)))


def progress_line(view: ProgressView) -> str:
    """Return the progress in one line."""
    progress = view.progress
    parts = [
        f"sent {view.part_of(progress.sent, view.sendable)}",
        f"resolved {view.part_of(progress.resolved, view.rows)}",
        view.rate,
        f"tokens {view.tokens}",
        *view.waiting,
    ]
    return "; ".join(parts)


def progress_event(view: ProgressView) -> dict[str, Any]:
    """Return the progress as a JSON event."""
    fields = attrs.asdict(view.progress)
    del fields["finished"], fields["reasons"]
    until = view.progress.waiting_until
    return {
        "event": "progress",
        "total": view.rows,
        **{name: _json_value(value) for name, value in fields.items()},
        "waiting_until": None if until is None else until.isoformat(timespec="seconds"),
        "seconds_left": _json_value(view.seconds_left),
        "reasons": [{"records": count, "reason": reason} for count, reason in view.reasons],
    }


def summary_event(summary: Summary, **more: object) -> dict[str, Any]:
    """Return the summary as the last JSON event of a campaign, with more fields at its end."""
    fields = {name: _json_value(value) for name, value in attrs.asdict(summary).items()}
    return {"event": "summary", **fields, **more}


def _json_value(value: Any) -> Any:
    """Round floats to 3 decimals; replace infinity, which JSON does not have, by None."""
    if isinstance(value, Mapping):
        return {name: _json_value(item) for name, item in value.items()}
    if not isinstance(value, float):
        return value
    return round(value, 3) if math.isfinite(value) else None
