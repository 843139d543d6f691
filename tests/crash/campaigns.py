"""Generate campaigns with every kind of row, in which each applied record identifies its row.

The reason text of a record contains its row number, so the log of the server shows which row was applied.

Kinds of rows:
    - good: valid; the server delivers it or answers with a failure, by the last digits of the receiver
    - invalid: a receiver that is no phone number
    - duplicate: equal to an earlier row, so it is sent once
    - same pair: the caller and receiver of an earlier row with another text, so the order of the two matters
    - unknown label: a label that the account does not have, so the server rejects the whole batch
    - expired: a time window that is over
"""

from __future__ import annotations

import csv
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random

import attrs

from truecaller_async.sandbox.batches.applied_posts import BY_LAST_DIGITS

CALLERS = ("911140001234", "911140001235")
HEADER = ("caller", "receiver", "label_id", "reason", "starts_at", "ends_at", "key")
NO_LABEL = "00000000-0000-4000-8000-000000000000"
HOUR_MS = 3_600_000
GOOD, INVALID, DUPLICATE = "good", "invalid", "duplicate"
SAME_PAIR, UNKNOWN_LABEL, EXPIRED = "same pair", "unknown label", "expired"
SAME_PAIR_WITHIN_ROWS = 120
"""Largest number of sendable rows between an earlier row and one that is a duplicate or of the same pair."""


@attrs.frozen(repr=False)
class Row:
    """One row of a campaign."""

    number: int
    """Its number, from 1."""
    source_row: int
    """The row that its reason text names: itself, or for a duplicate the earlier row."""
    kind: str
    """Its kind."""
    caller: str
    """The number of the caller."""
    receiver: str
    """The number of the receiver."""

    @property
    def pair(self) -> tuple[str, str]:
        """Return caller and receiver; of the records of a pair, only the last one applied counts."""
        return self.caller, self.receiver

    @property
    def is_failure(self) -> bool:
        """Return whether the sandbox answers it with a failure."""
        return self.receiver[-2:] in BY_LAST_DIGITS


@attrs.frozen
class Shares:
    """The share of each kind, from 0 to 1; the other rows are good."""

    invalid: float = 0.02
    duplicate: float = 0.02
    same_pair: float = 0.03
    unknown_label: float = 0.0008
    expired: float = 0.003
    failing: float = 0.04
    """The share of the good rows that the server answers with a failure."""


def rows_of(count: int, rng: Random, shares: Shares = Shares()) -> list[Row]:
    """Return the rows of a campaign; equal random numbers give equal rows."""
    kinds = (INVALID, DUPLICATE, SAME_PAIR, UNKNOWN_LABEL, EXPIRED)
    weights = [shares.invalid, shares.duplicate, shares.same_pair, shares.unknown_label, shares.expired]
    chosen = rng.choices((*kinds, GOOD), (*weights, 1 - sum(weights)), k=count)
    rows: list[Row] = []
    plain: list[Row] = []
    for number, kind in enumerate(chosen, 1):
        row = _row(number, kind, plain, rng, shares)
        rows.append(row)
        if row.kind in (GOOD, SAME_PAIR):
            plain.append(row)
    return rows


def _row(number: int, kind: str, plain: Sequence[Row], rng: Random, shares: Shares) -> Row:
    if kind in (DUPLICATE, SAME_PAIR) and plain:
        earlier = rng.choice(plain[-SAME_PAIR_WITHIN_ROWS:])
        return attrs.evolve(
            earlier, number=number, kind=kind, source_row=earlier.source_row if kind == DUPLICATE else number
        )
    ending = rng.choice(list(BY_LAST_DIGITS)) if rng.random() < shares.failing else "00"
    receiver = "12" if kind == INVALID else f"9198{number:06d}{ending}"
    return Row(number, number, GOOD if kind in (DUPLICATE, SAME_PAIR) else kind, rng.choice(CALLERS), receiver)


def write_csv(path: Path, rows: Sequence[Row], label: str) -> None:
    """Write the input. Time windows start now and last 8 hours; that of an expired row ended 2 hours ago."""
    now = int(time.time() * 1000)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(HEADER)
        for row in rows:
            starts = now - 10 * HOUR_MS if row.kind == EXPIRED else now
            label_id = NO_LABEL if row.kind == UNKNOWN_LABEL else label
            writer.writerow(
                (
                    row.caller,
                    row.receiver,
                    label_id,
                    reason_of(row.source_row),
                    starts,
                    starts + 8 * HOUR_MS,
                    f"key {row.source_row}",
                )
            )


def reason_of(row: int) -> str:
    """Return the reason text of a row."""
    return f"Calling about your order {row:07d}"


def row_of_reason(reason: str | None) -> int:
    """Return the row that a reason text names."""
    return int((reason or "0")[-7:])
