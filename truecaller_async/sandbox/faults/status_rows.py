"""Defects of batch status rows: missing, late, repeated, contradicting, or of another batch.

Algorithm:
    Each variant affects one record in `FAULT_INTERVAL_RECORDS`, and at least one per batch. The variant's name and the
    seed of the batch select the records, so two polls and two runs with the same seed get the same rows. Several
    variants can affect the same record; if its row is missing, nothing is repeated.
Invariants:
    - A foreign row has numbers that cannot exist (country code 999 is unassigned), a window one hour earlier, and the
      opposite status of the row before it. A client that accepts it reports a wrong result.
    - In v1 a foreign row names its own batch and account. Rows that no client could distinguish are not generated.
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
"""One of this many records is affected."""
UNASSIGNED_COUNTRY_CODE = "999"
"""Country code without numbers."""
HOUR_MS = 60 * 60 * 1000

ROW_VARIANTS = (
    ResponseVariant.MISSING_ROWS,
    ResponseVariant.LATE_ROWS,
    ResponseVariant.REPEATED_ROWS,
    ResponseVariant.CONTRADICTING_ROWS,
    ResponseVariant.FOREIGN_ROWS,
)
"""Variants that this module implements."""
REMOVING_VARIANTS = frozenset({ResponseVariant.MISSING_ROWS, ResponseVariant.LATE_ROWS})
"""Variants that remove a row."""

FAILED = BY_LAST_DIGITS["13"]


class ForeignBatch(NamedTuple):
    """Batch of another account."""

    batch_id: str
    client_account_id: str


class SandboxStatusRow(NamedTuple):
    """One status row; `foreign_batch` is None in a row of the requested batch."""

    record_id: str
    record: Record
    verdict: RecordVerdict
    foreign_batch: ForeignBatch | None = None


@attrs.frozen
class StatusRowFaults:
    """Enabled row variants."""

    variants: frozenset[ResponseVariant]
    """All enabled variants; others than row variants are ignored."""
    late_for: float
    """Seconds from the last final status of a batch to its late rows."""

    def apply(self, applied: AppliedPost, rows: Iterable[SandboxStatusRow], now: float) -> Iterable[SandboxStatusRow]:
        """Return the rows to show at this time, given one row per record in the order of the request."""
        affected = {
            variant: _affected_indexes(variant, applied) for variant in ROW_VARIANTS if variant in self.variants
        }
        if now >= applied.final_at + applied.spread + self.late_for:
            affected.pop(ResponseVariant.LATE_ROWS, None)
        return _with_faults(applied, rows, affected) if affected else rows


def _affected_indexes(variant: ResponseVariant, applied: AppliedPost) -> range:
    """Return the indexes of the records that a variant affects."""
    rng, count = _rng_for(variant, applied), len(applied.records)
    return range(rng.randrange(min(FAULT_INTERVAL_RECORDS, count)), count, FAULT_INTERVAL_RECORDS)


def _with_faults(
    applied: AppliedPost, rows: Iterable[SandboxStatusRow], affected: Mapping[ResponseVariant, range]
) -> Iterator[SandboxStatusRow]:
    rng = _rng_for("others", applied)
    foreign_batch = ForeignBatch(_random_uuid(rng), _random_uuid(rng))
    for index, row in enumerate(rows):
        affecting = {variant for variant, indexes in affected.items() if index in indexes}
        if affecting.isdisjoint(REMOVING_VARIANTS):
            yield row
            if ResponseVariant.REPEATED_ROWS in affecting:
                yield row
            if ResponseVariant.CONTRADICTING_ROWS in affecting and row.verdict == applied.verdict(index):
                yield row._replace(verdict=_opposite(row.verdict))
        if ResponseVariant.FOREIGN_ROWS in affecting:
            verdict = _opposite(applied.verdict(index))
            yield SandboxStatusRow(_random_uuid(rng), _foreign_record(row.record, rng), verdict, foreign_batch)


def _foreign_record(record: Record, rng: random.Random) -> Record:
    """Return a record of another batch with a similar content."""
    return Record(
        _unassigned_number(rng),
        _unassigned_number(rng),
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


def _random_uuid(rng: random.Random) -> str:
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))


def _unassigned_number(rng: random.Random) -> str:
    return f"{UNASSIGNED_COUNTRY_CODE}{rng.randrange(10**9):09d}"
