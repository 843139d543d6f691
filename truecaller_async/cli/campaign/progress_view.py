"""Format the progress of a campaign: counts, rate, time left, and what limits the rate."""

from __future__ import annotations

import math

import attrs

from truecaller_async.cli.formatting import duration, number
from truecaller_async.models import Outcome, Progress

NEVER_SENT = (Outcome.INVALID, Outcome.EXPIRED, Outcome.DUPLICATE)
REASONS_MAX = 5
SERVICE = "service"
PROBING = "the service does not answer; probes are sent until it does"
LIMITED_BY = {
    "limits": "limited by the rate limits",
    "source": "limited by the source",
    "reader": "limited by writing results",
    "max_unresolved": "limited by max_unresolved",
}
"""Text for each value of `Progress.limited_by`, except `service`."""


@attrs.frozen
class ProgressView:
    """Progress at one moment, with what the display adds to it."""

    progress: Progress
    """The progress of the campaign stream."""
    total: int | None = None
    """Expected number of rows; None if unknown."""
    reasons: tuple[tuple[int, str], ...] = ()
    """The most frequent failure reasons, as (records, reason)."""

    @property
    def rows(self) -> int | None:
        """Return the number of rows: exact when finished, otherwise an estimate; None if unknown."""
        if self.progress.finished:
            return self.progress.read
        return None if self.total is None else max(self.total, self.progress.read)

    @property
    def sendable(self) -> int | None:
        """Return the number of rows without those that are never sent; None if unknown."""
        if self.rows is None:
            return None
        return self.rows - sum(self.progress.outcomes.get(outcome, 0) for outcome in NEVER_SENT)

    @property
    def seconds_left(self) -> float | None:
        """Return the seconds until all rows are sent; None if unknown or the service does not answer."""
        if self.progress.limited_by == SERVICE:
            return None
        if self.sendable is None or self.progress.rate <= 0 or self.progress.sent >= self.sendable:
            return None
        left = (self.sendable - self.progress.sent) / self.progress.rate
        return left if math.isfinite(left) else None

    @property
    def rate(self) -> str:
        """Return the rate, the permitted rate, the time left, and what limits the rate."""
        progress = self.progress
        if not progress.tokens_live:
            return "waiting for a token"
        parts = [f"{number(progress.rate)} of {number(progress.permitted_rate)} records/s"]
        if self.seconds_left is not None:
            parts.append(f"{duration(self.seconds_left)} left")
        if progress.limited_by in LIMITED_BY:
            parts.append(LIMITED_BY[progress.limited_by])
        return ", ".join(parts)

    @property
    def tokens(self) -> str:
        """Return the number of tokens: live, cooling down, and the maximum."""
        progress = self.progress
        return f"{progress.tokens_live} live, {progress.tokens_cooling_down} cooling down, {progress.tokens_max} max"

    @property
    def waiting(self) -> tuple[str, ...]:
        """Return what must happen before anything is sent."""
        until, conditions = self.progress.waiting_until, []
        if until is not None:
            conditions.append(f"no token may be minted before {until.astimezone():%H:%M:%S}")
        if self.progress.limited_by == SERVICE:
            conditions.append(PROBING)
        return tuple(conditions)

    def part_of(self, count: int, total: int | None) -> str:
        """Return "3,000 of 5,000", or "3,000" if the total is unknown."""
        return number(count) if total is None else f"{number(count)} of {number(total)}"
