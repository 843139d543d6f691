from __future__ import annotations

import click
import pytest

from truecaller_async.cli.param_types import duration_or_zero, identifier, limit, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30s", 30), ("15m", 900), ("4h", 14400), ("1d", 86400), ("90", 90), ("0.5", 0.5), ("1.5h", 5400), (" 2 M ", 120)],
)
def test_duration_is_read_in_seconds(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "h", "-1", "1w", "1h30m", "nan", "inf", "1e3", "٣s", "9" * 400, "4 hours"])
def test_invalid_duration_is_refused_with_the_valid_forms(text: str) -> None:
    with pytest.raises(click.BadParameter, match="write 30s, 15m, 4h, 1d"):
        parse_duration(text)


def test_zero_duration_is_accepted_only_if_allowed() -> None:
    assert duration_or_zero("0s") == 0
    with pytest.raises(click.BadParameter, match="more than 0"):
        parse_duration("0s")


def test_limit_is_passed_unchanged() -> None:
    assert limit("batch=60/60,token=100/1") == "batch=60/60,token=100/1"


@pytest.mark.parametrize("text", ["batch", "batch=60", "batch=0/60", "bulk=60/60", "batch=60/0", "batch=1.5/2"])
def test_invalid_limit_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter):
        limit(text)


def test_id_is_a_uuid_in_lower_case() -> None:
    assert identifier(" B9AB7822-e4ef-4256-a3bd-985289efb32b ") == "b9ab7822-e4ef-4256-a3bd-985289efb32b"


@pytest.mark.parametrize(
    "text", ["", "7", "../../token", "b9ab7822e4ef4256a3bd985289efb32b", "911140001234", "\x1b[2J"]
)
def test_invalid_id_is_refused_escaped_and_masked(text: str) -> None:
    with pytest.raises(click.BadParameter, match="is not a UUID") as caught:
        identifier(text)
    assert str(caught.value).isprintable()
    assert "91114" not in str(caught.value)
