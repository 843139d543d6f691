"""A campaign that has everything in it that a file may have, and of which every row can be told again.

The reason of a row's record is its own and names the row, so each record in the server's truth says which row it was.
A *repeat* is an earlier row word for word, and is sent once. A row that comes *again* is for the caller and receiver of
an earlier one and says something else, so their order matters. *Poison* is a label that the account does not have: the
server refuses the whole batch.
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
GOOD, BAD, REPEAT, AGAIN, POISON, LATE = "good", "bad", "repeat", "again", "poison", "late"
AGAIN_WITHIN = 120
"""Rows between two of one pair."""


@attrs.frozen(repr=False)
class Row:
    """One row of a campaign: its number, the row whose words it has (itself, but for a repeat), what kind it is."""

    number: int
    tells: int
    kind: str
    caller: str
    receiver: str

    @property
    def pair(self) -> tuple[str, str]:
        """The register that it writes."""
        return self.caller, self.receiver

    @property
    def is_refused_by_phone(self) -> bool:
        """Whether the sandbox's verdict on it is a failure."""
        return self.receiver[-2:] in BY_LAST_DIGITS


@attrs.frozen
class Shares:
    """How much there is of each kind, of one; the others are good. `failing` of the good ones fail."""

    bad: float = 0.02
    repeat: float = 0.02
    again: float = 0.03
    poison: float = 0.0008
    late: float = 0.003
    failing: float = 0.04


def rows_of(count: int, rng: Random, shares: Shares = Shares()) -> list[Row]:
    """The rows of a campaign; the same for the same dice."""
    kinds = (BAD, REPEAT, AGAIN, POISON, LATE)
    weights = [shares.bad, shares.repeat, shares.again, shares.poison, shares.late]
    chosen = rng.choices((*kinds, GOOD), (*weights, 1 - sum(weights)), k=count)
    rows: list[Row] = []
    plain: list[Row] = []
    for number, kind in enumerate(chosen, 1):
        row = _row(number, kind, plain, rng, shares)
        rows.append(row)
        if row.kind in (GOOD, AGAIN):
            plain.append(row)
    return rows


def _row(number: int, kind: str, plain: Sequence[Row], rng: Random, shares: Shares) -> Row:
    if kind in (REPEAT, AGAIN) and plain:
        earlier = rng.choice(plain[-AGAIN_WITHIN:])
        return attrs.evolve(earlier, number=number, kind=kind, tells=earlier.tells if kind == REPEAT else number)
    ending = rng.choice(list(BY_LAST_DIGITS)) if rng.random() < shares.failing else "00"
    receiver = "12" if kind == BAD else f"9198{number:06d}{ending}"
    return Row(number, number, GOOD if kind in (REPEAT, AGAIN) else kind, rng.choice(CALLERS), receiver)


def write_csv(path: Path, rows: Sequence[Row], label: str) -> None:
    """The input. Windows begin now and last some hours; a late row's is over."""
    now = int(time.time() * 1000)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(HEADER)
        for row in rows:
            starts = now - 10 * HOUR_MS if row.kind == LATE else now
            label_id = NO_LABEL if row.kind == POISON else label
            writer.writerow(
                (row.caller, row.receiver, label_id, said(row.tells), starts, starts + 8 * HOUR_MS, f"key {row.tells}")
            )


def said(row: int) -> str:
    """The reason of a row."""
    return f"Calling about your order {row:07d}"


def row_said(reason: str | None) -> int:
    """The row of a reason."""
    return int((reason or "0")[-7:])
