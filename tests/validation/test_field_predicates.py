"""Predicates of fields: the table is complete, and "valid" is never wrong."""

from __future__ import annotations

import attrs
from hypothesis import given
from hypothesis import strategies as st

from tests.campaign.core.records import START, record
from truecaller_async.models import CallRecord, RecordColumns
from truecaller_async.validation import field_predicates
from truecaller_async.validation.batch_validation import all_canonical, all_valid
from truecaller_async.validation.normalise import canonical
from truecaller_async.validation.record_rules import preflight

from .test_batch_validation import GOOD, NOW, UNUSUAL, UNUSUAL_RECORDS

RECORDS = st.one_of(
    st.sampled_from([*GOOD, *UNUSUAL_RECORDS]),
    st.fixed_dictionaries({}, optional={name: st.sampled_from(values) for name, values in UNUSUAL.items()}).map(
        lambda values: attrs.evolve(record(0), **values)
    ),
)


def test_table_has_all_optional_texts() -> None:
    names = {field.name for field in field_predicates.OPTIONAL_TEXTS}
    assert names | {"caller", "receiver", "starts_at", "ends_at"} == {field.name for field in attrs.fields(CallRecord)}
    assert names <= {field.name for field in attrs.fields(RecordColumns)}


@given(RECORDS, st.sampled_from([START - 1, NOW, START + 3_600_000]))
def test_valid_record_has_no_problem_and_is_canonical(one: CallRecord, now_ms: int) -> None:
    if field_predicates.is_valid(one, now_ms):
        assert preflight(one, now_ms) == (one, ())
        assert field_predicates.is_canonical(one)
    if field_predicates.is_canonical(one):
        assert canonical(one) is one


@given(RECORDS)
def test_batch_of_one_has_the_result_of_the_record(one: CallRecord) -> None:
    columns = RecordColumns.of([one])
    assert all_canonical(columns) == field_predicates.is_canonical(one)
    assert all_valid(columns, NOW) == field_predicates.is_valid(one, NOW)
