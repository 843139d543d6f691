"""`Retry-After`: numbers of seconds, dates, and unreadable values."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from truecaller_async.protocol.retry_after import parse_retry_after

NOON = datetime(2025, 7, 23, 12, 0, 0, tzinfo=UTC)
NOW = NOON.timestamp()


def http_date(seconds_after_noon: float) -> str:
    return format_datetime(datetime.fromtimestamp(NOW + seconds_after_noon, UTC), usegmt=True)


@pytest.mark.fault("F13")
@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        ("2", 2.0),
        (" 120 ", 120.0),
        ("99999999999", 99999999999.0),
        ("9" * 5000, 1e12),
        (None, None),
        ("", None),
        ("-5", None),
        ("120.5", None),
        ("1e3", None),
        ("soon", None),
        ("\uff11\uff12\uff10", None),
        ("120, 60", None),
        ("Wed, 21 Oct 99999999999 07:28:00 GMT", None),
        ("Wed, 21 Oct 2015 07:28:00 +9999999", None),
        ("Wed, 23 Jul 2025 \uff11\uff12:00:30 GMT", None),
    ],
)
def test_only_ascii_digits_are_seconds_and_unreadable_text_is_none(value: str | None, seconds: float | None) -> None:
    assert parse_retry_after(value, server_date=None, now=NOW) == seconds


@pytest.mark.fault("F12")
@pytest.mark.parametrize("skew", [-3600.0, -1.0, 0.0, 600.0, 3600.0])
def test_date_is_measured_against_the_server_clock(skew: float) -> None:
    wait = parse_retry_after(http_date(skew + 30), server_date=http_date(skew), now=NOW)
    assert wait == 30.0


@pytest.mark.parametrize("server_date", [None, "", "yesterday"])
def test_date_is_measured_against_the_local_clock_without_a_server_date(server_date: str | None) -> None:
    assert parse_retry_after(http_date(45), server_date=server_date, now=NOW) == 45.0


def test_date_that_has_passed_means_now() -> None:
    assert parse_retry_after(http_date(-60), server_date=http_date(0), now=NOW) == 0.0


@pytest.mark.parametrize("date", ["Wednesday, 23-Jul-25 12:00:30 GMT", "Wed Jul 23 12:00:30 2025"])
def test_two_old_forms_of_an_http_date_are_read_as_utc(date: str) -> None:
    assert parse_retry_after(date, server_date=None, now=NOW) == 30.0


@pytest.mark.fault("F13")
@given(value=st.text(max_size=60), server_date=st.none() | st.text(max_size=60))
def test_wait_is_none_or_finite_and_not_negative_for_any_headers(value: str, server_date: str | None) -> None:
    wait = parse_retry_after(value, server_date=server_date, now=NOW)
    assert wait is None or (wait >= 0 and math.isfinite(wait))
