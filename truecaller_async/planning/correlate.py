"""Whose result is it?

A status answer carries no reference of ours, may come in another order, and may mask the numbers. A row is given to a
record only on evidence:

1. *Watermark*, where it was asked for: the milliseconds of `ends_at` differ from record to record, and the whole
   `ends_at` must be the one that was sent. A server that rounds it is found out by what no rounding leaves, a last
   digit; without one in the answer nothing but the unmasked numbers is believed.
2. *Own fields*: the unmasked numbers name the record; where several records share them, the fields that every row
   shows and every record sent decide. A row that says something else of the record than we sent is believed only
   where no other row says what we sent.
3. *Position*, where the numbers are masked: only if the lengths agree, every unmasked field agrees row by row, and
   those fields tell the records apart.

Records that were sent with the same content are as good as one: any of their rows will do. Where the evidence leaves
a choice between different records, a row is nobody's, unless all of the choice has the same final word: then each of
those records has that word, and neither an id nor a message that might be another's. Both need the rows' own ids: a
row without one may be another one repeated, in the place of one that is missing. Anything else is "unattributed": the
outcomes are known as a sum, and no record may claim one. Rows that fit no record are foreign: dropped and counted.
Two rows that say different final words about one record are a conflict.

What no evidence can show: a row of another batch that shows nothing but what a record of ours has.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from typing import Any, Protocol, TypeAlias

import attrs

from truecaller_async.models import CallRecord, Outcome, RecordColumns, RecordStatus

MASK = "*"
NUMBER_FIELDS = ("caller", "receiver")
CONTENT_FIELDS = ("label_id", "label_name", "reason", "starts_at", "ends_at")

Key: TypeAlias = "Callable[[CallRecord | RecordStatus], Any]"


class RowStatus(Protocol):
    """What a row says of its record."""

    @property
    def status(self) -> str | None: ...
    @property
    def message(self) -> str | None: ...
    @property
    def field(self) -> str | None: ...


class StatusRowView(RowStatus, Protocol):
    """A row of a status, read in full (`RecordStatus`) or at a glance."""

    @property
    def id(self) -> str | None: ...
    @property
    def caller(self) -> str | None: ...
    @property
    def receiver(self) -> str | None: ...
    @property
    def outcome(self) -> Outcome | None: ...


@attrs.define
class Match:
    """For each record its status row or None; which records have contradicting rows; how many rows fit nobody.

    `unattributed` says that every row is final and yet no row could be given to a record. `said` is what the rows say,
    where that is not in the rows themselves.
    """

    rows: list[StatusRowView | None]
    conflicts: set[int] = attrs.field(factory=set)
    foreign: int = 0
    unattributed: bool = False
    statuses: Sequence[RowStatus] = ()


def correlate(records: Sequence[CallRecord], rows: Sequence[RecordStatus], *, watermark: bool = False) -> Match:
    """Give the status rows of one batch to its records (canonical form), by the evidence above."""
    if watermark and (places := _index_by_watermark(records, rows)):
        return _match_by_watermark(records, rows, places)
    if mirrors(RecordColumns.of(records), rows):
        return Match(list(rows))
    named = [row for row in rows if names_records([row])]
    if 0 < len(named) < len(rows):  # what one row hides does not make the others nobody's
        return _match_by_fields(records, named, NUMBER_FIELDS)
    shown = tuple(name for name in NUMBER_FIELDS if all(_is_unmasked(getattr(row, name)) for row in rows))
    if not shown:
        return _match_by_position(records, rows)
    return _match_by_fields(records, rows, shown)


def names_records(rows: Sequence[RecordStatus]) -> bool:
    """Whether every row shows both of its numbers."""
    return all(_is_unmasked(row.caller) and _is_unmasked(row.receiver) for row in rows)


def mirrors(columns: RecordColumns, rows: Sequence[StatusRowView], *, is_distinct: bool = False) -> bool:
    """Whether the rows show the numbers of the records one by one, to the letter, and no two records share them.

    The common answer, read fast. Each row is then its record's, whatever else it says: there is no other for it.
    `is_distinct`: it is known that no two records share them.
    """
    return (
        len(rows) == len(columns)
        and [row.receiver for row in rows] == columns.receiver
        and [row.caller for row in rows] == columns.caller
        and (is_distinct or len(set(zip(columns.caller, columns.receiver, strict=True))) == len(rows))
    )


def _is_unmasked(number: str | None) -> bool:
    return bool(number) and MASK not in str(number)


def _without_plus(number: str | None) -> str | None:
    return None if number is None else number.removeprefix("+")


def _is_consistent(record: CallRecord, row: RecordStatus) -> bool:
    """Whether nothing that the row shows contradicts the record. What was not sent, the server may fill in."""
    return (
        (not _is_unmasked(row.caller) or _without_plus(row.caller) == record.caller)
        and (not _is_unmasked(row.receiver) or _without_plus(row.receiver) == record.receiver)
        and (row.starts_at is None or row.starts_at == record.starts_at)
        and (row.ends_at is None or row.ends_at == record.ends_at)
        and (row.label_id is None or record.label_id is None or row.label_id.lower() == record.label_id)
        and (row.label_name is None or record.label_name is None or row.label_name == record.label_name)
        and (row.reason is None or record.reason is None or row.reason == record.reason)
    )


def _index_by_watermark(records: Sequence[CallRecord], rows: Sequence[RecordStatus]) -> dict[object, int]:
    """The places of the records by their `ends_at`; none where that does not tell them apart or a row hides it."""
    places: dict[object, int] = {record.ends_at: index for index, record in enumerate(records)}
    told_apart = len(places) == len(records) and all(row.ends_at is not None for row in rows)
    return places if told_apart else {}


def _match_by_watermark(
    records: Sequence[CallRecord], rows: Sequence[RecordStatus], index_of: dict[object, int]
) -> Match:
    match = Match([None] * len(records))
    given = []
    for row in rows:
        index = index_of.get(row.ends_at)
        if index is not None and _is_consistent(records[index], row):
            _assign(match, index, row)
            given.append(row)
        else:
            match.foreign += 1
    echoed = len(records) == 1 or any(row.ends_at % 10 for row in given if row.ends_at is not None)
    return match if given and echoed else _match_by_numbers(records, rows)


def _match_by_numbers(records: Sequence[CallRecord], rows: Sequence[RecordStatus]) -> Match:
    """The rest of what the server says cannot be trusted: only two unmasked numbers name a record."""
    match = Match([None] * len(records))
    number_of = _key(NUMBER_FIELDS)
    by_number = _indexes_by_key(records, number_of)
    for row in rows:
        near = by_number.get(number_of(row), [])
        if len(near) == 1:
            _assign(match, near[0], row)
        elif not near and _is_unmasked(row.caller) and _is_unmasked(row.receiver):
            match.foreign += 1
    if not any(match.rows):
        match.unattributed = _all_final(rows) and len(rows) >= len(records)
    return match


def _match_by_fields(records: Sequence[CallRecord], rows: Sequence[RecordStatus], shown: tuple[str, ...]) -> Match:
    match = Match([None] * len(records))
    number_of, all_of = _key(shown), _key(shown + _comparable_fields(records, rows))
    by_number, by_all = _indexes_by_key(records, number_of), _indexes_by_key(records, all_of)
    different = {key for key, places in by_all.items() if not _have_same_content(records, places)}
    own = {
        near[0]
        for row in rows
        if len(near := by_number.get(number_of(row), [])) == 1 and _is_consistent(records[near[0]], row)
    }
    homes: dict[str, int] = {}
    unclear: defaultdict[Any, list[RecordStatus]] = defaultdict(list)
    for row in rows:
        near, key = by_number.get(number_of(row), []), all_of(row)
        places = by_all.get(key, [])
        if len(near) == 1 and shown == NUMBER_FIELDS and (near[0] not in own or _is_consistent(records[near[0]], row)):
            _assign(match, near[0], row)
        elif not any(_is_consistent(records[index], row) for index in places):
            match.foreign += 1
        elif key in different or (row.id is None and len(places) > 1):
            unclear[key].append(row)
        else:
            _assign(match, _choose_index(match, places, row, homes), row)
    for key, choice in unclear.items():
        _assign_common_outcome(match, by_all[key], choice)
    if unclear and not any(match.rows):
        match.unattributed = _all_final(rows) and len(rows) >= len(records)
    return match


def _comparable_fields(records: Sequence[CallRecord], rows: Iterable[RecordStatus]) -> tuple[str, ...]:
    """The content that every row shows and every record sent: equal values there are evidence."""
    sent = [name for name in CONTENT_FIELDS if all(getattr(record, name) is not None for record in records)]
    return tuple(name for name in sent if all(getattr(row, name) is not None for row in rows))


def _key(names: tuple[str, ...]) -> Key:
    """What these fields say, in the same form for a record and for a row."""

    def key(of: CallRecord | RecordStatus) -> tuple[Any, ...]:
        values = (getattr(of, name) for name in names)
        return tuple(
            _without_plus(value) if name in NUMBER_FIELDS else value.lower() if name == "label_id" else value
            for name, value in zip(names, values, strict=True)
        )

    return key


def _indexes_by_key(records: Sequence[CallRecord], key: Key) -> dict[Any, list[int]]:
    places: defaultdict[Any, list[int]] = defaultdict(list)
    for index, record in enumerate(records):
        places[key(record)].append(index)
    return places


_content = attrgetter(*NUMBER_FIELDS, *CONTENT_FIELDS)


def _have_same_content(records: Sequence[CallRecord], indexes: Sequence[int]) -> bool:
    """Whether these records were sent with the same content."""
    return len(indexes) == 1 or len({_content(records[index]) for index in indexes}) == 1


def _choose_index(match: Match, indexes: Sequence[int], row: RecordStatus, index_by_id: dict[str, int]) -> int:
    """Which of several records of the same content: the one that has this row's id, else one without a row."""
    free = next((index for index in indexes if match.rows[index] is None), indexes[0])
    return index_by_id.setdefault(row.id, free) if row.id is not None else free


def _assign(match: Match, index: int, row: RecordStatus) -> None:
    held = match.rows[index]
    if held is None or held.outcome is None:
        match.rows[index] = row
    elif row.outcome is not None and row.outcome is not held.outcome:
        match.conflicts.add(index)


def _match_by_position(records: Sequence[CallRecord], rows: Sequence[RecordStatus]) -> Match:
    match = Match([None] * len(records))
    in_order = len(records) == len(rows) and all(map(_is_consistent, records, rows))
    if in_order and all(
        len(places) == 1 for places in _indexes_by_key(records, _key(_comparable_fields(records, rows))).values()
    ):
        return Match(list(rows))
    if in_order:
        _assign_common_outcome(match, range(len(records)), rows)
    if not any(match.rows):
        match.unattributed = _all_final(rows) and len(rows) >= len(records)
    return match


def _assign_common_outcome(match: Match, indexes: Sequence[int], candidates: Sequence[RecordStatus]) -> None:
    """Rows that are these records' in an order nobody knows: of use only if they all have the same final word."""
    ids = {row.id for row in candidates if row.id is not None}
    complete = len(candidates) == len(indexes) == len(ids)
    if complete and _all_final(candidates) and len({row.outcome for row in candidates}) == 1:
        common = RecordStatus(
            status=candidates[0].status,
            message=_common_value(row.message for row in candidates),
            field=_common_value(row.field for row in candidates),
        )
        for index in indexes:
            _assign(match, index, common)


def _common_value(values: Iterable[str | None]) -> str | None:
    different = set(values)
    return different.pop() if len(different) == 1 else None


def _all_final(rows: Sequence[RecordStatus]) -> bool:
    return bool(rows) and all(row.outcome is not None for row in rows)
