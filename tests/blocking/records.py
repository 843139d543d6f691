"""Make records that are valid by the system's clock."""

from __future__ import annotations

from collections.abc import Iterator
from time import time

from tests.blocking.conftest import SETTINGS
from truecaller_async import CallRecord

HOUR_MS = 3_600_000
REFUSED = "919234567813"
"""A receiver that the sandbox refuses, by its last digits."""


def record(number: int = 0, receiver: str | None = None) -> CallRecord:
    """Make one record. Without a given receiver, it ends in a digit that the sandbox delivers."""
    now = int(time() * 1000)
    return CallRecord(
        caller="911234567898",
        receiver=receiver or f"9198{number:07d}0",
        starts_at=now,
        ends_at=now + 4 * HOUR_MS,
        label_id=SETTINGS.labels[0].id,
        reason="Calling you for KYC",
        key=str(number),
    )


def records(count: int) -> Iterator[CallRecord]:
    """Yield this many different records."""
    return (record(number) for number in range(1, count + 1))
