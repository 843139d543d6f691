"""Rendering of single values: arguments, settings, cells, fields of events."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from truecaller_async.models import Secret
from truecaller_async.redaction import (
    ELLIPSIS,
    VALUE_MAX_CHARS,
    log_value,
    mask_number,
    mask_numbers,
    masked,
    printable,
    quoted_value,
    shown_value,
)
from truecaller_async.validation.untrusted_values import as_text, masked_number

NUMBERS = st.from_regex(r"[3-9][0-9]{9,14}", fullmatch=True)
SEPARATORS = st.lists(st.sampled_from(["", " ", "-", ".", ") ", " - ", " (", "\u00a0", "\n"]), min_size=14, max_size=14)
PADDING = st.integers(0, 2 * VALUE_MAX_CHARS).map(lambda count: "x" * count + " ")
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(),
    st.binary(),
    st.decimals(),
    st.datetimes(),
    st.lists(st.integers(), max_size=3),
    st.just(10**5000),
    st.just(-(10**5000)),
    st.just(Secret("s3cr3t-value")),
)


class Hostile:
    """A class whose text must not be requested."""

    def __repr__(self) -> str:
        raise AssertionError("repr was called")

    __str__ = __repr__


def spelled(number: str, separators: list[str]) -> str:
    return "".join(digit + separator for digit, separator in zip(number, separators, strict=False))


@given(NUMBERS, SEPARATORS, PADDING)
def test_cell_shows_at_most_four_digits_of_a_number(number: str, separators: list[str], before: str) -> None:
    text = before + spelled(number, separators)
    for shown in (masked(text), mask_numbers(text)):
        assert sum(char.isdigit() for char in shown) <= 4


@given(NUMBERS)
@example("919876543210")
def test_number_of_any_type_shows_its_last_four_digits(number: str) -> None:
    for value in (number, int(number), Decimal(number)):
        assert masked_number(value) == "*" * (len(number) - 4) + number[-4:]
    assert mask_number(number) == mask_number(int(number))
    assert number[:-4] not in shown_value(number) + shown_value(int(number)) + quoted_value(number)


@pytest.mark.parametrize(("number", "shown"), [("", ""), ("1", "*"), ("1234", "****"), ("12345", "*2345")])
def test_short_number_is_hidden_whole(number: str, shown: str) -> None:
    assert mask_number(number) == shown


@given(VALUES)
def test_any_value_is_rendered_on_one_short_line(value: Any) -> None:
    for render in (shown_value, quoted_value):
        shown = render(value)
        assert shown.isprintable()
        assert 0 < len(shown) <= 4 * VALUE_MAX_CHARS
        assert "s3cr3t" not in shown


@pytest.mark.parametrize("render", [shown_value, quoted_value, as_text, masked_number])
def test_text_of_an_unknown_class_is_never_requested(render: Callable[[object], str]) -> None:
    assert "Hostile" in render(Hostile()) or render is masked_number


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("", "''"),
        ("abc", "abc"),
        (17, "17"),
        (True, "True"),
        (None, "None"),
        (1.5, "1.5"),
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
        (2**63, "an integer of more than 18 digits"),
        (b"abc", "<bytes>"),
        (datetime(2025, 1, 1), "<datetime>"),  # noqa: DTZ001 - a time without zone on purpose
        ("911234567898", "********7898"),
    ],
)
def test_argument_is_shown_short_and_masked(value: object, shown: str) -> None:
    assert shown_value(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("", "''"),
        ("https://host", "'https://host'"),
        ("http://user:p4ssw0rd@proxy.example", "text with an @ in it"),
        ("two\nlines", "'two lines'"),
        ("x" * VALUE_MAX_CHARS, repr("x" * VALUE_MAX_CHARS)),
        ("x" * (VALUE_MAX_CHARS + 1), repr("x" * VALUE_MAX_CHARS) + ELLIPSIS),
        (0, "0"),
        ([1], "of type list"),
        (Secret("s3cr3t"), "of type Secret"),
    ],
)
def test_setting_is_quoted_without_a_password(value: object, shown: str) -> None:
    assert quoted_value(value) == shown


@given(st.text())
def test_printable_text_is_one_line_and_keeps_printable_characters(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    assert not text.isprintable() or shown == text


@given(st.one_of(st.none(), st.booleans(), st.integers(-(10**9), 10**9), st.floats(-1e9, 1e9), st.text()))
def test_field_of_an_event_cannot_forge_another_field(value: object) -> None:
    shown = log_value(value)
    assert shown.isprintable()
    if shown.startswith('"'):
        assert shown.endswith('"')
        assert '"' not in shown[1:-1]
    else:
        assert shown
        assert not {" ", "="} & set(shown)
