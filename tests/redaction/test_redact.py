"""Texts of the server as errors quote them: useful, without full numbers, tokens and signed links."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from truecaller_async.protocol.arguments import check_uuid
from truecaller_async.redaction import redact, redact_body

SEPARATORS = ["", " ", "-", ") ", " - ", " ("]


@given(
    digits=st.from_regex(r"[3-9][0-9]{6,14}", fullmatch=True),
    separators=st.lists(st.sampled_from(SEPARATORS), min_size=14, max_size=14),
    lead=st.sampled_from(["", "+", "caller ", "caller: +", "(", '{"caller": "']),
)
def test_number_shows_its_last_four_digits_at_most_in_any_spelling(
    digits: str, separators: list[str], lead: str
) -> None:
    written = "".join(digit + separator for digit, separator in zip(digits, separators, strict=False)).strip(" (.-)")
    shown = redact(f"{lead}{written} is refused") or ""
    assert sum(char.isdigit() for char in shown) <= 4
    assert shown.startswith(lead)
    assert shown.endswith(" is refused")


@pytest.mark.parametrize(
    "number", ["+91 12345 67898", "+91-12345-67898", "(91) 12345.67898", "91.12345.67898", "1234567", "0091 1234567898"]
)
def test_number_itself_is_masked(number: str) -> None:
    shown = redact(f"caller {number} is refused") or ""
    assert number not in shown
    assert shown.startswith("caller ")
    assert shown.endswith(f"{number[-4:]} is refused")


def test_number_in_an_id_field_is_masked() -> None:
    problem = check_uuid("feature_set_id", "+91 12345 67898")
    assert problem is not None
    assert problem.value == "+**********7898"


@pytest.mark.parametrize(
    "text",
    [
        "batch d30ca8f7-ae64-4c30-8700-d63f6b2f1dd6 is not known",
        "expired at 2025-07-10T06:59:05.72Z",
        "expired at 2025-07-10 06:59:05",
        "expired on 2025-07-10.",
        "upstream 192.168.101.254:8080 is down",
        "500/50011 - Failed to parse token",
        "429 too many: 60 of 60 in 60 s",
    ],
)
def test_ids_dates_addresses_and_counts_are_not_masked(text: str) -> None:
    assert redact(text) == text


@pytest.mark.parametrize("slashes", ["//", "\\/\\/"])
def test_link_is_quoted_without_its_query(slashes: str) -> None:
    body = f'{{"url": "https:{slashes}files.example/log.csv?X-Signature=s3cr3t&x=1", "n": 1}}'
    assert redact_body(body.encode()) == f'{{"url": "https:{slashes}files.example/log.csv?***", "n": 1}}'
