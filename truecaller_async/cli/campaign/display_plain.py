"""Progress without a terminal: lines that a log keeps, for a person or for a program.

The first line comes after a second, so that one sees that it runs; then there is one every ten seconds.
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

FIRST_AFTER = 1.0
EVERY = 10.0


class Display(Protocol):
    """Shows where a campaign is. A context manager. `first` and `every` are seconds between two showings."""

    first: float
    every: float

    def render(self, course: ProgressView) -> None:
        """The campaign is here."""
        ...

    def note(self, text: str) -> None:
        """Something a person should read, now."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class PlainDisplay:
    """Plain lines on stderr."""

    first = FIRST_AFTER
    every = EVERY

    def render(self, course: ProgressView) -> None:
        """One line, while there is something to wait for."""
        if not course.progress.finished:
            click.echo(line_of(course), err=True)

    def note(self, text: str) -> None:
        """To stderr."""
        click.echo(text, err=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to put away."""


class JsonDisplay(PlainDisplay):
    """Progress as JSON lines on stdout; notes stay on stderr."""

    def render(self, course: ProgressView) -> None:
        """One event, while there is something to wait for."""
        if not course.progress.finished:
            click.echo(json.dumps(progress_event(course)))


def line_of(course: ProgressView) -> str:
    """The campaign in one line."""
    progress = course.progress
    said = [
        f"sent {course.part_of(progress.sent, course.sendable)}",
        f"resolved {course.part_of(progress.resolved, course.rows)}",
        course.rate,
        f"tokens {course.tokens}",
        *course.waiting,
    ]
    return "; ".join(said)


def progress_event(course: ProgressView) -> dict[str, Any]:
    """The event that a program reads while the campaign runs."""
    fields = attrs.asdict(course.progress)
    del fields["finished"], fields["reasons"]
    until = course.progress.waiting_until
    return {
        "event": "progress",
        "total": course.rows,
        **{name: _rounded(value) for name, value in fields.items()},
        "waiting_until": None if until is None else until.isoformat(timespec="seconds"),
        "seconds_left": _rounded(course.seconds_left),
        "reasons": [{"records": count, "reason": reason} for count, reason in course.reasons],
    }


def summary_event(summary: Summary, **more: object) -> dict[str, Any]:
    """The last event of a campaign."""
    fields = {name: _rounded(value) for name, value in attrs.asdict(summary).items()}
    return {"event": "summary", **fields, **more}


def _rounded(value: Any) -> Any:
    """A value for JSON, which has no infinity."""
    if isinstance(value, Mapping):
        return {name: _rounded(item) for name, item in value.items()}
    if not isinstance(value, float):
        return value
    return round(value, 3) if math.isfinite(value) else None
