"""Test that stored records are decoded as they were sent."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from truecaller_async import CallRecord
from truecaller_async.campaign.rows.stored_records import pack_records, unpack_records
from truecaller_async.validation.normalise import canonical

TEXTS = st.text(st.characters(), max_size=12) | st.none()


@given(st.lists(st.builds(CallRecord, TEXTS, TEXTS, st.integers(0, 2**50), st.integers(0, 2**50), TEXTS, key=TEXTS)))
def test_records_come_back_in_canonical_form(records: list[CallRecord]) -> None:
    assert unpack_records(pack_records(records)) == [canonical(record) for record in records]


def test_unpaired_surrogate_in_a_key_and_a_timestamp_round_trip() -> None:
    record = CallRecord("911234567898", "919876543210", datetime(2026, 1, 2, tzinfo=UTC), 2**41, key="half \ud83d")
    (back,) = unpack_records(pack_records([record]))
    assert back == canonical(record)


def test_stored_payload_contains_no_readable_number() -> None:
    kept = pack_records([CallRecord("911234567898", f"9198765{number:05d}", 1, 2) for number in range(500)])
    assert b"9198765" not in kept
