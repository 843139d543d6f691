"""Match the rows of a batch status to the records of the batch.

The rows contain no reference of the client, can be in another order, and can have masked numbers.

Algorithm: a row is matched to a record only by evidence, in this order:
    1. Watermark (if requested): `ends_at` must be equal to the one sent. If no `ends_at` has a last digit other than 0,
       the server may round it; then only unmasked numbers count.
    2. Own fields: the unmasked numbers identify the record. If several records share them, the fields that all rows
       show and all records sent decide. A row that contradicts its record counts only if no other row agrees.
    3. Position (numbers masked): only if the number of rows is equal, every unmasked field agrees row by row, and
       these fields distinguish the records.
    Records with equal content are interchangeable. If several different records are possible, they get a common outcome
    without id, and only if all their rows have ids and the same final outcome. Otherwise they are "unattributed".
Invariants:
    - No record gets the outcome of a different record. A row that fits no record is foreign: ignored and counted.
    - Two different final outcomes for one record are a conflict.
Failure modes:
    - A row of another batch that shows only values of a record of this batch cannot be detected.
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
    """The status fields of a row."""

    @property
    def status(self) -> str | None: ...
    @property
    def message(self) -> str | None: ...
    @property
    def field(self) -> str | None: ...


class StatusRowView(RowStatus, Protocol):
    """A status row, decoded completely (`RecordStatus`) or as a summary."""

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
    """The result of a correlation."""

    rows: list[StatusRowView | None]
    """The row of each record, or None."""
    conflicts: set[int] = attrs.field(factory=set)
    """Indexes of records whose rows have different final outcomes."""
    foreign: int = 0
    """Number of rows that fit no record."""
    unattributed: bool = False
    """Whether every row is final but no row could be matched to a record."""
    statuses: Sequence[RowStatus] = ()
    """The status fields of the rows, if they are not in the rows themselves."""


def correlate(records: Sequence[CallRecord], rows: Sequence[RecordStatus], *, watermark: bool = False) -> Match:
    """Match status rows to the records of one batch.

    Args:
        records: The records as sent (canonical form).
        rows: The status rows.
        watermark: Whether the records were sent with watermarks.
    """
    if watermark and (index_of := _index_by_watermark(records, rows)):
        return _match_by_watermark(records, rows, index_of)
    if mirrors(RecordColumns.of(records), rows):
        return Match(list(rows))
    named = [row for row in rows if names_records([row])]
    if 0 < len(named) < len(rows):  # a masked row does not prevent the match of the others
        return _match_by_fields(records, named, NUMBER_FIELDS)
    shown = tuple(name for name in NUMBER_FIELDS if all(_is_unmasked(getattr(row, name)) for row in rows))
    if not shown:
        return _match_by_position(records, rows)
    return _match_by_fields(records, rows, shown)


def names_records(rows: Sequence[RecordStatus]) -> bool:
    """Return whether every row shows both of its numbers."""
    return all(_is_unmasked(row.caller) and _is_unmasked(row.receiver) for row in rows)


def mirrors(columns: RecordColumns, rows: Sequence[StatusRowView], *, is_distinct: bool = False) -> bool:
    """Return whether the rows have the numbers of the records in the same order, each pair once.

    This is the fast path for the common answer: each row then belongs to the record at its index.

    Args:
        columns: The records by column.
        rows: The status rows.
        is_distinct: Whether it is already known that no two records have the same pair of numbers.
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
    """Return whether no shown value contradicts the record; values that were not sent are ignored."""
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
    """Map `ends_at` to the index of the record; empty if that is not unique or a row does not show it."""
    index_of: dict[object, int] = {record.ends_at: index for index, record in enumerate(records)}
    is_unique = len(index_of) == len(records) and all(row.ends_at is not None for row in rows)
    return index_of if is_unique else {}


def _match_by_watermark(
    records: Sequence[CallRecord], rows: Sequence[RecordStatus], index_of: dict[object, int]
) -> Match:
    match = Match([None] * len(records))
    matched = []
    for row in rows:
        index = index_of.get(row.ends_at)
        if index is not None and _is_consistent(records[index], row):
            _assign(match, index, row)
            matched.append(row)
        else:
            match.foreign += 1
    # A rounded `ends_at` always ends with the digit 0: then all rows would match the record with watermark 0.
    is_exact = len(records) == 1 or any(row.ends_at % 10 for row in matched if row.ends_at is not None)
    return match if matched and is_exact else _match_by_numbers(records, rows)


def _match_by_numbers(records: Sequence[CallRecord], rows: Sequence[RecordStatus]) -> Match:
    """Match only rows with two unmasked numbers, because the other fields cannot be trusted."""
    match = Match([None] * len(records))
    number_of = _key(NUMBER_FIELDS)
    by_number = _indexes_by_key(records, number_of)
    for row in rows:
        candidates = by_number.get(number_of(row), [])
        if len(candidates) == 1:
            _assign(match, candidates[0], row)
        elif not candidates and _is_unmasked(row.caller) and _is_unmasked(row.receiver):
            match.foreign += 1
    if not any(match.rows):
        match.unattributed = _all_final(rows) and len(rows) >= len(records)
    return match


def _match_by_fields(records: Sequence[CallRecord], rows: Sequence[RecordStatus], shown: tuple[str, ...]) -> Match:
    match = Match([None] * len(records))
    number_of, all_of = _key(shown), _key(shown + _comparable_fields(records, rows))
    by_number, by_all = _indexes_by_key(records, number_of), _indexes_by_key(records, all_of)
    distinct_content = {key for key, indexes in by_all.items() if not _have_same_content(records, indexes)}
    with_own_row = {
        candidates[0]
        for row in rows
        if len(candidates := by_number.get(number_of(row), [])) == 1 and _is_consistent(records[candidates[0]], row)
    }
    index_by_id: dict[str, int] = {}
    undecided: defaultdict[Any, list[RecordStatus]] = defaultdict(list)
    for row in rows:
        candidates, key = by_number.get(number_of(row), []), all_of(row)
        indexes = by_all.get(key, [])
        only = candidates[0] if len(candidates) == 1 and shown == NUMBER_FIELDS else None
        if only is not None and (only not in with_own_row or _is_consistent(records[only], row)):
            _assign(match, only, row)
        elif not any(_is_consistent(records[index], row) for index in indexes):
            match.foreign += 1
        elif key in distinct_content or (row.id is None and len(indexes) > 1):
            undecided[key].append(row)
        else:
            _assign(match, _choose_index(match, indexes, row, index_by_id), row)
    for key, rows_of_key in undecided.items():
        _assign_common_outcome(match, by_all[key], rows_of_key)
    if undecided and not any(match.rows):
        match.unattributed = _all_final(rows) and len(rows) >= len(records)
    return match


def _comparable_fields(records: Sequence[CallRecord], rows: Iterable[RecordStatus]) -> tuple[str, ...]:
    """Return the fields that every row shows and every record sent: equal values in them are evidence."""
    sent = [name for name in CONTENT_FIELDS if all(getattr(record, name) is not None for record in records)]
    return tuple(name for name in sent if all(getattr(row, name) is not None for row in rows))


def _key(names: tuple[str, ...]) -> Key:
    """Build a function that returns the values of fields, in the same form for a record and for a row."""

    def key(of: CallRecord | RecordStatus) -> tuple[Any, ...]:
        values = (getattr(of, name) for name in names)
        return tuple(
            _without_plus(value) if name in NUMBER_FIELDS else value.lower() if name == "label_id" else value
            for name, value in zip(names, values, strict=True)
        )

    return key


def _indexes_by_key(records: Sequence[CallRecord], key: Key) -> dict[Any, list[int]]:
    indexes: defaultdict[Any, list[int]] = defaultdict(list)
    for index, record in enumerate(records):
        indexes[key(record)].append(index)
    return indexes


_content = attrgetter(*NUMBER_FIELDS, *CONTENT_FIELDS)


def _have_same_content(records: Sequence[CallRecord], indexes: Sequence[int]) -> bool:
    """Return whether the records were sent with the same content."""
    return len(indexes) == 1 or len({_content(records[index]) for index in indexes}) == 1


def _choose_index(match: Match, indexes: Sequence[int], row: RecordStatus, index_by_id: dict[str, int]) -> int:
    """Choose among equal records: the one with the id of the row, otherwise one without a row."""
    free = next((index for index in indexes if match.rows[index] is None), indexes[0])
    return index_by_id.setdefault(row.id, free) if row.id is not None else free


def _assign(match: Match, index: int, row: RecordStatus) -> None:
    current = match.rows[index]
    if current is None or current.outcome is None:
        match.rows[index] = row
    elif row.outcome is not None and row.outcome is not current.outcome:
        match.conflicts.add(index)


def _match_by_position(records: Sequence[CallRecord], rows: Sequence[RecordStatus]) -> Match:
    match = Match([None] * len(records))
    in_order = len(records) == len(rows) and all(map(_is_consistent, records, rows))
    if in_order and all(
        len(indexes) == 1 for indexes in _indexes_by_key(records, _key(_comparable_fields(records, rows))).values()
    ):
        return Match(list(rows))
    if in_order:
        _assign_common_outcome(match, range(len(records)), rows)
    if not any(match.rows):
        match.unattributed = _all_final(rows) and len(rows) >= len(records)
    return match


def _assign_common_outcome(match: Match, indexes: Sequence[int], candidates: Sequence[RecordStatus]) -> None:
    """Assign the common final outcome of rows whose order is unknown; nothing if the outcomes differ."""
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
    distinct = set(values)
    return distinct.pop() if len(distinct) == 1 else None


def _all_final(rows: Sequence[RecordStatus]) -> bool:
    return bool(rows) and all(row.outcome is not None for row in rows)
