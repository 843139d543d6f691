"""S01: whatever a server says, an error that quotes it shows no token and no number, also where it was cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from truecaller_async.errors import BODY_MAX_CHARS
from truecaller_async.redaction import TEXT_MAX_CHARACTERS, redact, redact_body

from .canary import leaks, traces_of_number, traces_of_secret
from .host import RECEIVER, TOKEN

HIDDEN = {"token": traces_of_secret(TOKEN), "number": traces_of_number(RECEIVER)}
SAID = st.sampled_from(["Bearer ", " ", "'", '"', ", ", "https://files.example/a?b=", "x" * 40 + " ", TOKEN, RECEIVER])


@pytest.mark.fault("S01")
@given(st.lists(SAID, max_size=60).map(" ".join), st.integers(0, 200))
def test_truncation_leaves_no_part_of_a_token_or_number(said: str, before: int) -> None:
    text = "." * before + " " + said
    for shown in (
        redact(text),
        redact_body(text.encode()),
        redact_body((" " * (BODY_MAX_CHARS - 300) + text).encode()),
    ):
        assert leaks(HIDDEN, [("quote", shown or "")]) == []


@pytest.mark.fault("S01")
@given(st.integers(0, 300))
def test_redaction_leaves_no_leading_digits_of_a_cut_number(room: int) -> None:
    text = "Bearer " + "x" * 400 + " " * room + RECEIVER
    shown = redact(text + " and more" * 20) or ""
    assert "9900765" not in shown
    assert len(shown) <= TEXT_MAX_CHARACTERS


@pytest.mark.fault("S01")
@pytest.mark.parametrize(
    "word",
    [
        "d30ca8f7-ae64-4c30-8700-d63f6b2f1dd6",
        "D30CA8F7-AE64-4C30-8700-D63F6B2F1DD6",
        "4bf92f3577b34da6a3ce929d0e0e4736",
        "com.truecaller.enterprise.AuthenticationFilter",
        "/v2/clients/dynamic_call_records",
        "https://console.example/Help/Page2024/AuthenticationFailed",
        "not-authorized-for-this-feature",
    ],
)
def test_ids_hashes_names_and_paths_are_no_tokens(word: str) -> None:
    shown = redact(f"see {word} for more") or ""
    assert shown.startswith("see " + word[:5])
    assert shown.count("*") <= 12
    assert "***" not in shown.split()
