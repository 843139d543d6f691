"""What must never be printed."""

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


@pytest.mark.parametrize(
    "shown", [repr(SECRET), str(SECRET), f"{SECRET}", f"{SECRET!r:>40}", f"{SECRET:x<9}", f"{[SECRET]} {(SECRET,)}"]
)
def test_s03_a_secret_shows_stars_wherever_python_would_show_a_value(shown: str) -> None:
    assert CANARY not in shown
    assert "***" in shown


def test_s03_a_secret_in_the_locals_of_a_traceback_is_not_shown() -> None:
    key = SECRET
    try:
        raise ValueError("any")
    except ValueError as error:
        trace = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    assert CANARY not in trace
    assert repr(key) in trace


@pytest.mark.parametrize("leak", [pickle.dumps, copy.copy, copy.deepcopy, json.dumps, msgspec.json.encode])
def test_s03_a_secret_is_not_copied_and_not_serialised(leak: object) -> None:
    assert callable(leak)
    with pytest.raises(TypeError) as refused:
        leak(SECRET)
    assert CANARY not in str(refused.value)


def test_s03_a_secret_has_no_length_and_no_dictionary() -> None:
    assert not hasattr(SECRET, "__len__")
    assert not hasattr(SECRET, "__dict__")


def test_s03_secrets_are_equal_by_value_and_to_nothing_else() -> None:
    assert Secret(CANARY) == SECRET
    assert hash(Secret(CANARY)) == hash(SECRET)
    assert Secret("another") != SECRET
    assert SECRET != CANARY
    assert not Secret("")


def test_s03_credentials_taken_apart_still_hide_the_key() -> None:
    credentials = Credentials("00000000-0000-4000-8000-000000000000", "key-id", SECRET)
    assert CANARY not in f"{credentials} {attrs.asdict(credentials)} {attrs.astuple(credentials)}"


@given(st.text(max_size=30))
def test_s34_a_mask_keeps_the_length_and_shows_at_most_the_last_four(number: str) -> None:
    masked = mask_number(number)
    assert len(masked) == len(number)
    assert masked == "*" * len(number) if len(number) <= 4 else masked == "*" * (len(number) - 4) + number[-4:]
