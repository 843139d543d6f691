"""The rows of a campaign, and the sources that provide them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from random import Random

import attrs

from tests.campaign.world import HOUR_MS, LABEL
from tests.simulation.scenario import Campaign, RowMixture
from tests.virtual import BASE
from truecaller_async import CallRecord

UNKNOWN_LABEL = "11111111-2222-4333-8444-555555555555"
"""Label that the account does not have; only the server can detect it."""

FAILING = ("13", "26", "39", "52")


class SourceFailure(RuntimeError):
    """Error that a source of the simulation raises."""


def rows_of(mixture: RowMixture, number: int, dice: Random) -> list[CallRecord]:
    """Return the rows of the campaign with this number; no pair occurs in two campaigns."""
    rows: list[CallRecord] = []
    for row in range(mixture.rows):
        if rows and dice.random() < mixture.equal:
            rows.append(dice.choice(rows))
        else:
            rows.append(_row(mixture, number, row, dice))
    return rows


def _row(mixture: RowMixture, number: int, row: int, dice: Random) -> CallRecord:
    pair = row if mixture.pairs is None else dice.randrange(mixture.pairs)
    bad, poison = dice.random() < mixture.bad, dice.random() < mixture.poison
    closing, past = dice.random() < mixture.closing_soon, dice.random() < mixture.past
    opens = BASE + mixture.windows_open_after
    ends = opens - 60 if past else opens + (dice.uniform(1.0, 300.0) if closing else 8 * 3600.0)
    return CallRecord(
        caller=f"9112345{number:05d}",
        receiver=f"9198{number:02d}{pair:05d}{_verdict(pair, mixture.failing)}",
        starts_at=int(opens * 1000) - HOUR_MS,
        ends_at=int(ends) * 1000 + 999,  # so that a watermark stays within the second
        label_id=UNKNOWN_LABEL if poison else LABEL,
        reason="bad" if bad else f"Word {row:05d} of campaign {number}",
        key=str(row),
    )


def _verdict(pair: int, failing: float) -> str:
    """Return the last two digits of the receiver, which decide the outcome in the sandbox.

    They are equal for all records of a pair.
    """
    return FAILING[pair % 4] if (pair * 7919 % 1000) / 1000 < failing else "00"


@attrs.define
class RowSource:
    """The rows, provided again for each process. It raises once before each of some rows."""

    rows: Sequence[CallRecord]
    delay: float
    failing_rows: set[int]

    @classmethod
    def of(cls, campaign: Campaign, rows: Sequence[CallRecord]) -> RowSource:
        return cls(rows, campaign.source_delay, set(campaign.failing_rows))

    def open(self) -> object:
        """Return the source for the client."""
        return self._iterate_slowly() if self.delay else self._iterate() if self.failing_rows else list(self.rows)

    def _iterate(self) -> Iterator[CallRecord]:
        for row, record in enumerate(self.rows, 1):
            self._raise_if_failing(row)
            yield record

    async def _iterate_slowly(self) -> AsyncIterator[CallRecord]:
        for row, record in enumerate(self.rows, 1):
            await asyncio.sleep(self.delay)
            self._raise_if_failing(row)
            yield record

    def _raise_if_failing(self, row: int) -> None:
        if row in self.failing_rows:
            self.failing_rows.remove(row)
            raise SourceFailure(f"row {row} cannot be read")
