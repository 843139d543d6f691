"""Whose result is it?

A status answer carries no reference of ours, may come in another order, and may mask the numbers. A row is given to a
record only on evidence:

1. *Watermark*, where it was asked for: the milliseconds of `ends_at` are the record's place in the batch, and the
   whole `ends_at` must be the one that was sent.
2. *Own fields*: the unmasked numbers name the record; where several records share them, the other fields decide.
3. *Position*, where the numbers are masked: only if the lengths agree, every unmasked field agrees row by row, and
   those fields tell the rows apart, or every row carries the same final word so that it does not matter.

Anything else is "unattributed": the outcomes are known as a sum, and no record may claim one. Rows that fit no record
are foreign: dropped and counted. Two rows that say different final words about one record are a conflict.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

import attrs

from truecaller_async.models import CallRecord, RecordStatus

MASK = "*"
Key = tuple[str | None, str | None]


@attrs.define
class Match:
    """For each record its status row or None; which records have contradicting rows; how many rows fit nobody.

    `unattributed` says that every row is final and yet no row could be given to a record.
    """

    rows: list[RecordStatus | None]
    conflicts: set[int] = attrs.field(factory=set)
    foreign: int = 0
    unattributed: bool = False


def correlate(records: Sequence[CallRecord], rows: Sequence[RecordStatus], *, watermark: bool = False) -> Match:
    """Give the status rows of one batch to its records (canonical form), by the evidence above."""
    if watermark and (match := _by_watermark(records, rows)) is not None:
        return match
    if len(records) == len(rows) and all(map(_names_itself, rows)) and all(map(_agrees, records, rows)):
        return Match(list(rows))
    by_caller = all(_shown(row.caller) for row in rows)
    by_receiver = all(_shown(row.receiver) for row in rows)
    if by_caller or by_receiver:
        return _by_fields(records, rows, by_caller, by_receiver)
    return _by_position(records, rows)


def _shown(number: str | None) -> bool:
    return bool(number) and MASK not in str(number)


def _names_itself(row: RecordStatus) -> bool:
    return _shown(row.caller) and _shown(row.receiver)


def _digits(number: str | None) -> str | None:
    return None if number is None else number.removeprefix("+")


def _agrees(record: CallRecord, row: RecordStatus) -> bool:
    """Whether nothing that the row shows contradicts the record. What was not sent, the server may fill in."""
    return (
        (not _shown(row.caller) or _digits(row.caller) == record.caller)
        and (not _shown(row.receiver) or _digits(row.receiver) == record.receiver)
        and (row.starts_at is None or row.starts_at == record.starts_at)
        and (row.ends_at is None or row.ends_at == record.ends_at)
        and (row.label_id is None or record.label_id is None or row.label_id.lower() == record.label_id)
        and (row.label_name is None or record.label_name is None or row.label_name == record.label_name)
        and (row.reason is None or record.reason is None or row.reason == record.reason)
    )


def _by_watermark(records: Sequence[CallRecord], rows: Sequence[RecordStatus]) -> Match | None:
    match = Match([None] * len(records))
    for row in rows:
        if row.ends_at is None:
            return None
        index = row.ends_at % 1000
        if index < len(records) and records[index].ends_at == row.ends_at and _agrees(records[index], row):
            _give(match, index, row)
        else:
            match.foreign += 1
    return match if match.foreign < len(rows) or not rows else None


def _by_fields(records: Sequence[CallRecord], rows: Sequence[RecordStatus], caller: bool, receiver: bool) -> Match:
    places: defaultdict[Key, list[int]] = defaultdict(list)
    for index, record in enumerate(records):
        places[record.caller if caller else None, record.receiver if receiver else None].append(index)
    match = Match([None] * len(records))
    for row in rows:
        key = (_digits(row.caller) if caller else None, _digits(row.receiver) if receiver else None)
        chosen = _choose(places.get(key, ()), records, row, match)
        if chosen is None:
            match.foreign += 1
        else:
            _give(match, chosen, row)
    return match


def _choose(places: Sequence[int], records: Sequence[CallRecord], row: RecordStatus, match: Match) -> int | None:
    """The record among those of one pair: one that agrees and has no row yet, else one that agrees, else the only."""
    agreeing = [index for index in places if _agrees(records[index], row)]
    free = next((index for index in agreeing if match.rows[index] is None), None)
    if free is not None:
        return free
    if agreeing:
        return agreeing[0]
    return places[0] if len(places) == 1 else None


def _give(match: Match, index: int, row: RecordStatus) -> None:
    held = match.rows[index]
    if held is None or held.outcome is None:
        match.rows[index] = row
    elif row.outcome is not None and row.outcome is not held.outcome:
        match.conflicts.add(index)


def _by_position(records: Sequence[CallRecord], rows: Sequence[RecordStatus]) -> Match:
    nothing = Match([None] * len(records))
    everything_final = bool(rows) and all(row.outcome is not None for row in rows)
    if len(records) != len(rows) or not all(map(_agrees, records, rows)):
        nothing.unattributed = everything_final and len(rows) >= len(records)
        return nothing
    if _distinct(rows) or (everything_final and len({row.status for row in rows}) == 1):
        return Match(list(rows))
    nothing.unattributed = everything_final
    return nothing


def _distinct(rows: Iterable[RecordStatus]) -> bool:
    shown = [(row.label_id, row.label_name, row.reason, row.starts_at, row.ends_at) for row in rows]
    return len(set(shown)) == len(shown)
