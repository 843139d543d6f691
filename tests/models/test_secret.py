"""Test that secrets are never shown or copied, and that numbers are masked."""

from __future__ import annotations

import copy
import json
import pickle
import traceback

import attrs
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from truecaller_async.models import Secret, mask_number
from truecaller_async.options import Credentials

CANARY = "c4n4ry-0f-4-k3y"
SECRET = Secret(CANARY)


@pytest.mark.fault("S03")
@pytest.mark.parametrize(
    "shown", [repr(SECRET), str(SECRET), f"{SECRET}", f"{SECRET!r:>40}", f"{SECRET:x<9}", f"{[SECRET]} {(SECRET,)}"]
)
def test_secret_is_masked_in_every_textual_form(shown: str) -> None:
    assert CANARY not in shown
    assert "***" in shown


@pytest.mark.fault("S03")
def test_secret_in_the_locals_of_a_traceback_is_not_shown() -> None:
    key = SECRET
    try:
        raise ValueError("any")
    except ValueError as error:
        trace = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    assert CANARY not in trace
    assert repr(key) in trace


@pytest.mark.fault("S03")
@pytest.mark.parametrize("leak", [pickle.dumps, copy.copy, copy.deepcopy, json.dumps, msgspec.json.encode])
def test_secret_is_not_copied_and_not_serialised(leak: object) -> None:
    assert callable(leak)
    with pytest.raises(TypeError) as refused:
        leak(SECRET)
    assert CANARY not in str(refused.value)


@pytest.mark.fault("S03")
def test_secret_has_no_length_and_no_dictionary() -> None:
    assert not hasattr(SECRET, "__len__")
    assert not hasattr(SECRET, "__dict__")


@pytest.mark.fault("S03")
def test_secrets_are_equal_by_value_and_to_nothing_else() -> None:
    assert Secret(CANARY) == SECRET
    assert hash(Secret(CANARY)) == hash(SECRET)
    assert Secret("another") != SECRET
    assert SECRET != CANARY
    assert not Secret("")


@pytest.mark.fault("S03")
def test_credentials_fields_still_hide_the_key() -> None:
    credentials = Credentials("00000000-0000-4000-8000-000000000000", "key-id", SECRET)
    assert CANARY not in f"{credentials} {attrs.asdict(credentials)} {attrs.astuple(credentials)}"


@pytest.mark.fault("S34")
@given(st.text(max_size=30))
def test_mask_keeps_the_length_and_at_most_the_last_four_digits(number: str) -> None:
    masked = mask_number(number)
    assert len(masked) == len(number)
    assert masked == "*" * len(number) if len(number) <= 4 else masked == "*" * (len(number) - 4) + number[-4:]
