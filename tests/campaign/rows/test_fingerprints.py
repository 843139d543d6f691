"""Test fingerprints: equal rows are recognised, and the first different row is found."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from enum import Enum
from itertools import pairwise
from typing import Any
from uuid import UUID

import attrs
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.campaign.core.records import record
from truecaller_async.campaign.rows.fingerprints import DIGEST_BYTES, RowFingerprints
from truecaller_async.models import CallRecord

SALT = b"sixteen bytes...."
FIELDS = tuple(field.name for field in attrs.fields(CallRecord))
FINGERPRINTS = RowFingerprints(SALT)


def difference(before: Sequence[CallRecord | None], after: Sequence[CallRecord | None]) -> int | None:
    return FINGERPRINTS.first_difference(FINGERPRINTS.of(before), after)


def checksum(row: CallRecord | None) -> int:
    return FINGERPRINTS.of([row])[DIGEST_BYTES]


def with_value(field: str, value: Any) -> CallRecord:
    return attrs.evolve(record(), **{field: value})


class Weekday(Enum):
    """An enumeration as a value."""

    MONDAY = "monday"


class RaisingObject:
    """Raise an error from every method."""

    def __repr__(self) -> str:
        raise RuntimeError

    __str__ = __repr__
    __index__ = __float__ = __hash__ = __bool__ = __repr__  # type: ignore[assignment]


class BrokenZone(tzinfo):
    """Raise an error from every method of a time zone."""

    def utcoffset(self, _: datetime | None) -> timedelta:
        raise RuntimeError

    def tzname(self, _: datetime | None) -> str:
        raise RuntimeError

    def dst(self, _: datetime | None) -> timedelta:
        raise RuntimeError


class Text(str):
    """Raise an error from the conversion of a text subclass."""

    __slots__ = ()

    def __str__(self) -> str:
        raise RuntimeError

    __repr__ = __str__


def recursive_list() -> list[Any]:
    loop: list[Any] = []
    loop.append(loop)
    return loop


UNUSUAL_VALUES = [
    datetime(2025, 7, 17, 14, tzinfo=UTC),
    datetime(2025, 7, 17, 14),  # noqa: DTZ001
    datetime(2025, 7, 17, 14, tzinfo=timezone(timedelta(hours=5, minutes=30))),
    datetime(2025, 7, 17, 14, tzinfo=BrokenZone()),
    "2025-07-17T14:00:00Z",
    date(2025, 7, 17),
    Decimal(1),
    Decimal("1.0"),
    Decimal("sNaN"),
    1,
    1.0,
    True,
    False,
    "1",
    Text("1"),
    b"1",
    b"MQ==",
    "MQ==",
    None,
    "None",
    "null",
    "",
    float("nan"),
    float("inf"),
    -float("inf"),
    0.0,
    -0.0,
    "\ud800",
    "\\ud800",
    "\udce9",
    10**30,
    10**30 + 1,
    -(2**63) - 1,
    10**5000,
    10**5000 + 1,
    [],
    ["x"],
    ["y"],
    ("x",),
    {"a": 1},
    {"a": 2},
    {1: 2},
    {"x"},
    object(),
    RaisingObject(),
    [RaisingObject()],
    recursive_list(),
    Weekday.MONDAY,
    "monday",
    UUID(int=1),
    str(UUID(int=1)),
    print,
    int,
]


def test_equal_rows_have_equal_fingerprints() -> None:
    rows = [record(1), None, record(2, reason="Calling you back")]
    again = [record(1), None, record(2, reason="Calling you back")]
    assert FINGERPRINTS.of(rows) == FINGERPRINTS.of(again)
    assert difference(rows, again) is None


def test_fingerprint_has_eight_bytes_plus_one_per_row() -> None:
    assert [len(FINGERPRINTS.of([record()] * count)) for count in (0, 1, 500)] == [8, 9, 508]


@pytest.mark.parametrize("place", range(20))
def test_first_row_that_differs_is_reported(place: int) -> None:
    rows: list[CallRecord | None] = [record(number) for number in range(20)]
    changed = [*rows[:place], *(record(100 + number) for number in range(place, 20))]
    assert checksum(changed[place]) != checksum(rows[place])
    assert difference(rows, changed) == place


def test_row_that_became_readable_differs() -> None:
    empty = CallRecord(None, None, None, None)  # type: ignore[arg-type]
    assert difference([record(), None], [record(), empty]) == 1


def test_missing_or_new_rows_report_the_shorter_length() -> None:
    rows = [record(number) for number in range(5)]
    assert difference(rows, rows[:3]) == 3
    assert difference(rows[:3], rows) == 3
    assert difference(rows, []) == 0
    assert difference([], rows) == 0
    assert difference([], []) is None
    assert difference(rows, [record(9), *rows]) == 0


def test_different_row_with_equal_checksum_is_found_by_the_digest() -> None:
    twin = next(other for number in range(1, 10_000) if checksum(other := record(number)) == checksum(record(0)))
    assert difference([record(5), record(0)], [record(5), twin]) == 0
    rows = [record(number) for number in range(5)]
    assert difference([*rows, record(0)], [*rows, twin]) == 0


def test_damaged_fingerprint_is_a_difference_and_no_exception() -> None:
    rows = [record(1), record(2)]
    stored = FINGERPRINTS.of(rows)
    for damaged in (
        b"",
        stored[:5],
        stored[:9],
        stored + b"\0",
        bytes(8) + stored[8:],
        stored[:8] + bytes([stored[8] ^ 1]) + b"x",
    ):
        assert FINGERPRINTS.first_difference(damaged, rows) in (0, 1, 2)


def test_fields_do_not_run_into_each_other() -> None:
    pairs = [
        (record(label_id="ab", label_name="c"), record(label_id="a", label_name="bc")),
        (record(label_id="a", label_name=None), record(label_id=None, label_name="a")),
        (record(reason='x","y'), record(reason="x", key="y")),
        (record(reason="x\n"), record(reason="x")),
    ]
    for one, other in pairs:
        assert difference([one], [other]) == 0


@pytest.mark.parametrize("field", FIELDS)
def test_every_field_counts(field: str) -> None:
    changed = with_value(field, "other")
    assert checksum(changed) != checksum(record())
    assert difference([record(1), record()], [record(1), changed]) == 1


def test_equal_looking_values_of_different_types_differ() -> None:
    distinct = [
        value
        for value in UNUSUAL_VALUES
        if type(value) not in (object, RaisingObject, set) and value not in ([RaisingObject], print, int)
    ]
    fingerprints = {FINGERPRINTS.of([record(key=value)]) for value in distinct if not _has_type_only(value)}
    assert len(fingerprints) == len([value for value in distinct if not _has_type_only(value)])


def _has_type_only(value: object) -> bool:
    """Return whether only the type of the value is part of the fingerprint."""
    return isinstance(value, list | dict) and value not in ([], ["x"], ["y"], {"a": 1}, {"a": 2})


@pytest.mark.parametrize("value", UNUSUAL_VALUES, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("field", FIELDS)
def test_any_value_is_fingerprinted_without_affecting_other_rows(field: str, value: object) -> None:
    others = [record(1), None, record(2, key="\udc80"), record(3, starts_at=datetime(2025, 7, 17, 14, tzinfo=UTC))]
    unusual = with_value(field, value)
    checksums = bytes(checksum(row) for row in others)
    assert FINGERPRINTS.of([*others, unusual])[DIGEST_BYTES:-1] == checksums
    assert difference([*others, unusual], [*others, unusual]) is None


def test_object_is_fingerprinted_by_type_and_not_by_address() -> None:
    assert FINGERPRINTS.of([record(key=object())]) == FINGERPRINTS.of([record(key=object())])
    assert FINGERPRINTS.of([record(key=[RaisingObject()])]) == FINGERPRINTS.of([record(key=[RaisingObject()])])
    assert FINGERPRINTS.of([record(key=object())]) != FINGERPRINTS.of([record(key=RaisingObject())])


def test_mapping_order_does_not_change_the_fingerprint() -> None:
    assert difference([record(reason={"a": 1, "b": 2})], [record(reason={"b": 2, "a": 1})]) is None


PROGRAM = """
from datetime import datetime, UTC
from decimal import Decimal
from truecaller_async.models import CallRecord
from truecaller_async.campaign.rows.fingerprints import RowFingerprints
odd = [datetime(2025, 7, 17, 14, tzinfo=UTC), Decimal("1.5"), 1.5, b"x", "\\ud800", object(), {"b", "a", "c", "d"}, len]
plain = [CallRecord("911234567898", "919234567898", 1, 2), None]
rows = [CallRecord("1", "2", 3, 4, key=value) for value in odd]
print(RowFingerprints(b"salt").of(plain).hex(), RowFingerprints(b"salt").of(rows).hex())
"""


def test_fingerprint_is_the_same_in_every_process() -> None:
    outputs = {
        subprocess.run(  # noqa: S603
            [sys.executable, "-c", PROGRAM],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(outputs) == 1


def test_fingerprint_is_stable_between_versions() -> None:
    rows = [record(1), None, record(2, label_name="Zoë"), record(3, starts_at=datetime(2025, 7, 17, 14, tzinfo=UTC))]
    assert RowFingerprints(b"salt").of(rows).hex() == "faf8f35d8b82259111d6d6ca"


@pytest.mark.parametrize("salt", [b"", b"x", bytes(200)])
def test_any_salt_is_accepted(salt: bytes) -> None:
    rows = [record(number) for number in range(20)]
    stored = RowFingerprints(salt).of(rows)
    assert RowFingerprints(salt).first_difference(stored, rows) is None
    assert stored[:DIGEST_BYTES] != FINGERPRINTS.of(rows)[:DIGEST_BYTES]


@pytest.mark.fault("S36")
def test_another_salt_changes_digests_and_checksums() -> None:
    rows = [record(number) for number in range(20)]
    stored = [RowFingerprints(bytes([salt])).of(rows) for salt in range(20)]
    assert len({one[:DIGEST_BYTES] for one in stored}) == 20
    assert len({one[DIGEST_BYTES:] for one in stored}) > 10


@pytest.mark.fault("S36")
def test_fingerprint_contains_no_readable_number() -> None:
    rows = [record(number, key=f"customer {number}") for number in range(500)]
    stored = FINGERPRINTS.of(rows)
    for row in rows:
        assert row.caller.encode() not in stored
        assert row.receiver.encode() not in stored
        assert row.receiver[-4:].encode() not in stored


# Properties

plain = st.one_of(st.none(), st.text(max_size=8), st.integers(-(2**63), 2**64 - 1))
values = st.one_of(
    plain,
    st.text(st.characters(categories=["Cs", "L", "N"]), max_size=4),
    st.integers(),
    st.floats(allow_nan=False),
    st.booleans(),
    st.binary(max_size=4),
    st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30))])),
    st.decimals(allow_nan=False),
    st.lists(st.text("ab", max_size=2), max_size=2),
    st.dictionaries(st.text("ab", max_size=2), st.integers(0, 3), max_size=2),
)


def records(of: st.SearchStrategy[Any]) -> st.SearchStrategy[CallRecord]:
    return st.builds(CallRecord, **dict.fromkeys(FIELDS, of))


def blocks(of: st.SearchStrategy[Any], least: int = 0) -> st.SearchStrategy[list[CallRecord | None]]:
    return st.lists(st.one_of(st.none(), records(of)), min_size=least, max_size=8)


@given(blocks(plain) | blocks(values))
def test_equal_rows_never_differ(rows: list[CallRecord | None]) -> None:
    copies = [row if row is None else attrs.evolve(row) for row in rows]
    assert difference(rows, copies) is None


@pytest.mark.parametrize("of", [plain, values], ids=["plain", "unusual"])
@given(draw=st.data())
def test_single_field_change_is_found_by_row_or_by_block(of: st.SearchStrategy[Any], draw: Any) -> None:
    rows: list[CallRecord | None] = draw.draw(st.lists(records(of), min_size=1, max_size=8))
    place = draw.draw(st.integers(0, len(rows) - 1))
    field = draw.draw(st.sampled_from(FIELDS))
    value = draw.draw(of)
    before = rows[place]
    after = attrs.evolve(before, **{field: value})
    assume(getattr(before, field) != value)
    changed = [*rows[:place], after, *rows[place + 1 :]]
    collides = checksum(before) == checksum(after)
    assert difference(rows, changed) == (0 if collides else place)


@given(blocks(values), blocks(values))
def test_other_rows_are_found_within_the_shorter_block(
    before: list[CallRecord | None], after: list[CallRecord | None]
) -> None:
    found = difference(before, after)
    if len(before) != len(after):
        assert found is not None
        assert found <= min(len(before), len(after))
        assert [checksum(row) for row in before[:found]] == [checksum(row) for row in after[:found]]
    elif found is None:
        assert before == after
    else:
        assert found < len(before)


def test_checksums_of_consecutive_numbers_collide_no_more_than_by_chance() -> None:
    checksums = FINGERPRINTS.of([record(number) for number in range(25_600)])[DIGEST_BYTES:]
    same = sum(one == other for one, other in pairwise(checksums))
    assert same < 200
