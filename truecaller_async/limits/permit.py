"""The permit of a local limiter: one request that may be sent, and counts until it ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from truecaller_async.resilience.rate_law import RateWindow, RoundTrips


class LocalPermit:
    """One permit. See `ports.Permit`."""

    __slots__ = ("_ended", "_round_trips", "_windows", "at", "token_id")

    def __init__(
        self,
        token_id: str,
        at: float,
        windows: Sequence[RateWindow],
        round_trips: RoundTrips,
        ended: Callable[[], None],
    ) -> None:
        self.token_id = token_id
        """The token with which the request may be sent."""
        self.at = at
        """The loop time from which it may be sent, in seconds."""
        self._windows: Sequence[RateWindow] | None = windows
        self._round_trips = round_trips
        self._ended = ended

    def done(self, at: float) -> None:
        """End the permit: the answer arrived at this loop time. See `ports.Permit.done`."""
        if self._windows is not None:
            self._round_trips.record(at - self.at)
            self._count_at(max(at, self.at))

    def lost(self, at: float) -> None:
        """End the permit: the request was given up at this loop time. See `ports.Permit.lost`."""
        if self._windows is not None:
            self._count_at(max(at, self.at) + self._round_trips.late_seconds())

    def cancel(self) -> None:
        """End the permit: nothing was sent. See `ports.Permit.cancel`."""
        windows, self._windows = self._windows, None
        if windows is not None:
            for window in windows:
                window.cancel()
            self._ended()

    def _count_at(self, at: float) -> None:
        windows, self._windows = self._windows, None
        for window in windows or ():
            window.end(at)
        self._ended()
