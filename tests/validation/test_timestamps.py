"""Parsers of times: what each one accepts, and what they agree on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from truecaller_async.models import Problem
from truecaller_async.validation.timestamps import (
    TIME_MAX_MS,
    TIME_MIN_MS,
    parse_http_date,
    parse_instant,
    parse_iso,
    parse_rfc3339,
    parse_time,
    shown_time,
    to_milliseconds,
)

FIRST, LAST = datetime(1974, 1, 1), datetime(5138, 1, 1)  # noqa: DTZ001 - the zones are drawn
ZONES = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
AWARE = st.datetimes(FIRST, LAST, timezones=ZONES)
INDIA = timezone(timedelta(hours=5, minutes=30))


@given(AWARE)
def test_all_parsers_agree_on_aware_iso_text(moment: datetime) -> None:
    text = moment.isoformat()
    assert parse_iso(text) == parse_rfc3339(text) == parse_instant(text) == moment
    assert parse_time(text, "starts_at") == to_milliseconds(moment)


@pytest.mark.parametrize("text", ["1960-01-01T00:00:00Z", "5140-01-01T00:00:00Z", "9999-12-31T23:59:59+00:00"])
def test_date_out_of_range_is_no_wrong_unit(text: str) -> None:
    for value in (text, datetime.fromisoformat(text)):
        problem = parse_time(value, "ends_at")
        assert isinstance(problem, Problem)
        assert (problem.rule, problem.hint) == ("time.range", "check the year")


@given(st.integers(TIME_MIN_MS, TIME_MAX_MS))
def test_text_and_int_milliseconds_are_equal(ms: int) -> None:
    assert parse_instant(str(ms)) == parse_time(str(ms), "starts_at") == parse_time(ms, "starts_at") == ms


@pytest.mark.parametrize(
    ("text", "iso", "rfc3339"),
    [
        ("2025-07-17T14:00:00Z", True, True),
        ("2025-07-17t14:00:00z", True, True),
        ("2025-07-17 14:00:00+05:30", True, True),
        ("2025-07-17T14:00:00", True, True),
        ("2025-07-17T14:00:00.123456789Z", True, True),
        ("2025-07-17T14:00Z", True, False),
        ("20250717T140000Z", True, False),
        ("2025-W29-4T14:00:00Z", True, False),
        ("2025-07-17", True, False),
        (" 2025-07-17T14:00:00Z ", True, False),
        ("2025-07-17T14:00:00.1234567890123456789012Z", False, True),
        ("2025-13-01T00:00:00Z", False, False),
        ("1752760800000", False, False),
        ("tomorrow", False, False),
        ("", False, False),
    ],
)
def test_iso_and_rfc3339_accept_different_texts(text: str, iso: bool, rfc3339: bool) -> None:
    assert (parse_iso(text) is not None, parse_rfc3339(text) is not None) == (iso, rfc3339)


def test_time_without_a_zone_is_utc_only_in_answers_of_the_server() -> None:
    text = "2025-07-17T14:00:00"
    assert parse_rfc3339(text) == datetime(2025, 7, 17, 14, tzinfo=UTC)
    assert parse_instant(text) == text
    problem = parse_time(text, "starts_at")
    assert isinstance(problem, Problem)
    assert problem.rule == "time.zone"


def test_fraction_of_an_answer_is_rounded_to_microseconds() -> None:
    assert parse_rfc3339("2025-07-17T14:00:00.1234567Z") == datetime(2025, 7, 17, 14, 0, 0, 123457, tzinfo=UTC)


@pytest.mark.parametrize("value", [None, 17, 1.5, "", "soon", " 1752760800000", "+1752760800000", "9" * 19, b"1"])
def test_other_cells_are_returned_unchanged(value: object) -> None:
    assert parse_instant(value) is value


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("Thu, 17 Jul 2025 14:00:00 GMT", datetime(2025, 7, 17, 14, tzinfo=UTC)),
        ("Thu, 17 Jul 2025 14:00:00", datetime(2025, 7, 17, 14, tzinfo=UTC)),
        ("Thu, 17 Jul 2025 19:30:00 +0530", datetime(2025, 7, 17, 19, 30, tzinfo=INDIA)),
        ("Thu, 17 Jul 2025 \uff11\uff14:00:00 GMT", None),
        ("Thu, 99 Jul 2025 14:00:00 GMT", None),
        ("soon", None),
        ("", None),
    ],
)
def test_http_date(text: str, moment: datetime | None) -> None:
    assert parse_http_date(text) == moment


@given(st.text(max_size=120))
def test_parsers_of_text_never_raise(text: str) -> None:
    parsed = (parse_iso(text), parse_rfc3339(text), parse_http_date(text))
    assert all(moment is None or isinstance(moment, datetime) for moment in parsed)
    assert isinstance(parse_time(text, "starts_at"), int | Problem)
    assert parse_instant(text) is not None


@given(st.from_regex(r"[1-9][0-9]{9,14}", fullmatch=True))
def test_number_in_a_time_field_is_masked_and_a_date_is_not(number: str) -> None:
    assert shown_time(number) == "*" * (len(number) - 4) + number[-4:]
    assert shown_time("2025-07-17T14:00:00+05:30") == "2025-07-17T14:00:00+05:30"
