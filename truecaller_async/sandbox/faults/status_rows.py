"""Rows of a status that should not be as they are: missing, late, twice, at odds with each other, of another batch.

One record in `EVERY` is concerned by each of these oddities, and at least one in every batch. Which one comes from the
oddity's name and the batch's own seed, so that two polls and two runs of the same seed see the same rows; several
oddities may meet at one record, and where its row is missing there is nothing to repeat.

A foreign row is about numbers that nobody has (no country has the code 999) and a window an hour earlier, and says the
opposite of the row that it follows: a client that takes it for its own claims something false. In v1 it names the
other batch and the other account. Where everything that a row shows could be ours, no client could tell; such a row is
not made here.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import attrs

from truecaller_async.sandbox.batches.applied_posts import BY_LAST_DIGITS, SUCCESS, AppliedPost, RecordVerdict
from truecaller_async.sandbox.batches.records import Record
from truecaller_async.sandbox.faults.response_variants import ResponseVariant

FAULT_INTERVAL_RECORDS = 25
UNASSIGNED_COUNTRY_CODE = "999"
HOUR_MS = 60 * 60 * 1000

ROW_VARIANTS = (
    ResponseVariant.MISSING_ROWS,
    ResponseVariant.LATE_ROWS,
    ResponseVariant.REPEATED_ROWS,
    ResponseVariant.CONTRADICTING_ROWS,
    ResponseVariant.FOREIGN_ROWS,
)
REMOVING_VARIANTS = frozenset({ResponseVariant.MISSING_ROWS, ResponseVariant.LATE_ROWS})

FAILED = BY_LAST_DIGITS["13"]


class ForeignBatch(NamedTuple):
    """Another batch, of another account."""

    batch_id: str
    client_account_id: str


class SandboxStatusRow(NamedTuple):
    """A row: the record's id, the record, its status, and where it belongs if not here."""

    record_id: str
    record: Record
    verdict: RecordVerdict
    foreign_batch: ForeignBatch | None = None


@attrs.frozen
class StatusRowFaults:
    """The oddities that are on. `late_for`: seconds from the last final word of a batch to its late rows."""

    variants: frozenset[ResponseVariant]
    late_for: float

    def apply(self, applied: AppliedPost, rows: Iterable[SandboxStatusRow], now: float) -> Iterable[SandboxStatusRow]:
        """The rows that are shown at that moment, out of one for each record in the order of the request."""
        at = {oddity: _affected_indexes(oddity, applied) for oddity in ROW_VARIANTS if oddity in self.variants}
        if now >= applied.final_at + applied.spread + self.late_for:
            at.pop(ResponseVariant.LATE_ROWS, None)
        return _with_faults(applied, rows, at) if at else rows


def _affected_indexes(oddity: ResponseVariant, applied: AppliedPost) -> range:
    """Which records of a batch an oddity concerns, by index."""
    dice, count = _rng_for(oddity, applied), len(applied.records)
    return range(dice.randrange(min(FAULT_INTERVAL_RECORDS, count)), count, FAULT_INTERVAL_RECORDS)


def _with_faults(
    applied: AppliedPost, lines: Iterable[SandboxStatusRow], at: Mapping[ResponseVariant, range]
) -> Iterator[SandboxStatusRow]:
    others = _rng_for("others", applied)
    elsewhere = ForeignBatch(_random_uuid(others), _random_uuid(others))
    for index, line in enumerate(lines):
        met = {oddity for oddity, places in at.items() if index in places}
        if met.isdisjoint(REMOVING_VARIANTS):
            yield line
            if ResponseVariant.REPEATED_ROWS in met:
                yield line
            if ResponseVariant.CONTRADICTING_ROWS in met and line.verdict == applied.verdict(index):
                yield line._replace(verdict=_opposite(line.verdict))
        if ResponseVariant.FOREIGN_ROWS in met:
            verdict = _opposite(applied.verdict(index))
            yield SandboxStatusRow(_random_uuid(others), _foreign_record(line.record, others), verdict, elsewhere)


def _foreign_record(record: Record, dice: random.Random) -> Record:
    """A record of another batch of the same kind."""
    return Record(
        _unassigned_number(dice),
        _unassigned_number(dice),
        None if record.starts_at is None else record.starts_at - HOUR_MS,
        None if record.ends_at is None else record.ends_at - HOUR_MS,
        record.label_id,
        record.label_name,
        record.reason,
    )


def _opposite(verdict: RecordVerdict) -> RecordVerdict:
    return FAILED if verdict == SUCCESS else SUCCESS


def _rng_for(name: str, applied: AppliedPost) -> random.Random:
    return random.Random(f"{name} {applied.id_seed}")  # noqa: S311 - repeatable on purpose, guards nothing


def _random_uuid(dice: random.Random) -> str:
    return str(uuid.UUID(int=dice.getrandbits(128), version=4))


def _unassigned_number(dice: random.Random) -> str:
    return f"{UNASSIGNED_COUNTRY_CODE}{dice.randrange(10**9):09d}"
