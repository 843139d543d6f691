"""An observer that records each event that differs from the catalogue of events."""

from __future__ import annotations

from collections.abc import Mapping

from truecaller_async.telemetry import LoggingObserver
from truecaller_async.telemetry.events import mismatches

VIOLATIONS: list[str] = []
"""Violations in this process. A `SafeObserver` discards exceptions, so they are collected here and checked later."""


class StrictObserver(LoggingObserver):
    """Logs like its base class, and appends each violation to `VIOLATIONS`."""

    def event(self, name: str, fields: Mapping[str, object]) -> None:
        """Compare one event with the catalogue, then log it."""
        VIOLATIONS.extend(mismatches(name, fields))
        super().event(name, fields)


def drain_violations() -> list[str]:
    """Return the violations recorded since the last call, and clear the list."""
    found = list(VIOLATIONS)
    VIOLATIONS.clear()
    return found
