"""Where a campaign is at one moment, in the figures that a person asks for: how far, how fast, how long still."""

from __future__ import annotations

import math

import attrs

from truecaller_async.cli.formatting import duration, number
from truecaller_async.models import Outcome, Progress

NEVER_SENT = (Outcome.INVALID, Outcome.EXPIRED, Outcome.DUPLICATE)
REASONS_SHOWN = 5
SERVICE = "service"
PROBED = "the service does not answer; it is probed now and then"
BOUND = {
    "limits": "held by the limits",
    "source": "held by the source",
    "reader": "held by writing results",
    "max_unresolved": "held by unresolved records",
}


@attrs.frozen
class ProgressView:
    """`total` is how many rows are expected, None where nobody knows; `reasons` are (records, reason)."""

    progress: Progress
    total: int | None = None
    reasons: tuple[tuple[int, str], ...] = ()

    @property
    def rows(self) -> int | None:
        """The rows there are, as far as it is known: the count may be too low, and at the end it is exact."""
        if self.progress.finished:
            return self.progress.read
        return None if self.total is None else max(self.total, self.progress.read)

    @property
    def sendable(self) -> int | None:
        """The rows there are, without those that will not be sent."""
        if self.rows is None:
            return None
        return self.rows - sum(self.progress.outcomes.get(outcome, 0) for outcome in NEVER_SENT)

    @property
    def seconds_left(self) -> float | None:
        """Until everything is sent, at the present rate; None where nobody knows, or the service does not answer."""
        if self.progress.limited_by == SERVICE:
            return None
        if self.sendable is None or self.progress.rate <= 0 or self.progress.sent >= self.sendable:
            return None
        left = (self.sendable - self.progress.sent) / self.progress.rate
        return left if math.isfinite(left) else None

    @property
    def rate(self) -> str:
        """How fast, how fast it may be, and how long still."""
        progress = self.progress
        if not progress.tokens_live:
            return "waiting for a token"
        said = [f"{number(progress.rate)} of {number(progress.permitted_rate)} records/s"]
        if self.seconds_left is not None:
            said.append(f"{duration(self.seconds_left)} left")
        if progress.limited_by in BOUND:
            said.append(BOUND[progress.limited_by])
        return ", ".join(said)

    @property
    def tokens(self) -> str:
        """How many tokens there are."""
        progress = self.progress
        return f"{progress.tokens_live} live, {progress.tokens_cooling_down} on hold, {progress.tokens_max} at most"

    @property
    def waiting(self) -> tuple[str, ...]:
        """What has to come before anything is sent."""
        until, said = self.progress.waiting_until, []
        if until is not None:
            said.append(f"no token may be created before {until.astimezone():%H:%M:%S}")
        if self.progress.limited_by == SERVICE:
            said.append(PROBED)
        return tuple(said)

    def part_of(self, count: int, whole: int | None) -> str:
        """ "3,000 of 5,000" or, with an open end, "3,000"."""
        return number(count) if whole is None else f"{number(count)} of {number(whole)}"
