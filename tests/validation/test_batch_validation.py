"""Validation by column: True means that each record is valid."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.campaign.core.records import HOUR, START, record
from truecaller_async.models import CallRecord, RecordColumns
from truecaller_async.validation.batch_validation import all_canonical, all_valid
from truecaller_async.validation.normalise import canonical
from truecaller_async.validation.record_rules import preflight

LABEL = "c6d86658-008d-4c08-98fb-2bf2649d59a5"
NOW = START + 1_000


class Named(StrEnum):
    """Subclasses of `str`."""

    CALLER = "910000000001"
    REASON = "Calling you for KYC"


UNUSUAL: dict[str, list[Any]] = {
    "caller": [
        "+910000000001",
        "91 0000000001",
        "9876543210",
        "0910000000001",
        "910000000001\n",
        "910000000001\n919800000001",
        "91000000000\u0661",
        "",
        910000000001,
        None,
        Named.CALLER,
    ],
    "receiver": ["910000000001", "+919900000001", "12345", "1" * 16, "919900000001\n919900000002", "9876543210"],
    "starts_at": [START + 0.0, True, str(START), None, START + 25 * HOUR, 0],
    "ends_at": [START, NOW, NOW + 1, START + 24 * HOUR, START + 24 * HOUR + 1, float(START + HOUR), START - HOUR],
    "label_id": [LABEL, LABEL.upper(), "no label", "", 17],
    "label_name": ["Centro Bank", "ab", " Centro", "Cafe\u0301 Bank", "x" * 2000, "a\u200bbc", 17, []],
    "reason": ["Calling you for KYC", "Calling you @ home", "Calling you.", "short", "", Named.REASON, {}],
    "key": ["order-1", "", 17, None],
}


def changed(field: str, value: Any, number: int = 1) -> CallRecord:
    return attrs.evolve(record(number), **{field: value})


UNUSUAL_RECORDS = [changed(field, value) for field, values in UNUSUAL.items() for value in values]
GOOD = [record(number, label_id=LABEL, reason="Calling you for KYC") for number in range(3)]


def one_by_one(records: list[CallRecord]) -> tuple[bool, bool]:
    """Return whether all records are canonical and whether all are valid, record by record."""
    checked = [preflight(one, NOW) for one in records]
    are_canonical = all(canonical(one) == one for one in records)
    return are_canonical, all(
        formed == one and not found for one, (formed, found) in zip(records, checked, strict=True)
    )


@pytest.mark.parametrize("unusual", UNUSUAL_RECORDS, ids=range(len(UNUSUAL_RECORDS)))
def test_record_invalid_alone_makes_the_batch_uncertain(unusual: CallRecord) -> None:
    records = [*GOOD, unusual]
    are_canonical, are_valid = one_by_one(records)
    columns = RecordColumns.of(records)
    assert all_canonical(columns) <= are_canonical
    assert all_valid(columns, NOW) <= are_valid


@given(st.lists(st.sampled_from([*GOOD, *UNUSUAL_RECORDS]), min_size=1, max_size=6))
def test_positive_batch_validation_is_never_wrong(records: list[CallRecord]) -> None:
    are_canonical, are_valid = one_by_one(records)
    columns = RecordColumns.of(records)
    assert all_canonical(columns) <= are_canonical
    assert all_valid(columns, NOW) <= are_valid


def test_valid_records_pass_batch_validation() -> None:
    assert all_canonical(RecordColumns.of(GOOD))
    assert all_valid(RecordColumns.of(GOOD), NOW)
    personal = [record(n, label_name=f"Branch {n}", reason=f"About your order {n}", key=str(n)) for n in range(500)]
    assert all_valid(RecordColumns.of(personal), NOW)


def test_enum_text_is_accepted_as_the_equal_plain_text() -> None:
    assert not all_valid(RecordColumns.of([changed("reason", Named.REASON, 5)]), NOW)
    assert all_valid(RecordColumns.of([changed("reason", str(Named.REASON)), changed("reason", Named.REASON, 5)]), NOW)


def test_caller_that_is_another_records_receiver_is_valid() -> None:
    there, back = record(1), record(1, caller=record(1).receiver, receiver=record(1).caller)
    assert all_valid(RecordColumns.of([there, back]), NOW)
    assert not all_valid(RecordColumns.of([there, record(1, receiver=there.caller)]), NOW)
