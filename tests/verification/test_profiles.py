"""Profiles, in every documented form and in undocumented ones."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from truecaller_async.errors import DecodeError
from truecaller_async.verification.profiles import (
    Address,
    profile_of,
    true_profile_of,
    user_info_of,
    verified_number_of,
)

from .samples import value

MINIMAL: dict[str, Any] = {"phoneNumbers": ["919999999999"], "name": {"first": "Rajat"}}


def test_documented_profile_is_read_completely() -> None:
    profile = profile_of(value("mobile_web_profile_response"))
    assert profile.phone_numbers == ("919999999999",)
    assert (profile.first_name, profile.last_name) == ("Rajat", "Kapoor")
    assert (profile.id, profile.user_id) == ("655574719", "1319413476")
    assert profile.badges == ("verified", "premium")
    assert profile.is_active is True
    assert profile.created_at == datetime(2013, 9, 16, 6, 47, 48, tzinfo=UTC)
    assert profile.updated_at == {"name": datetime(2017, 10, 15, 17, 51, 28, tzinfo=UTC)}
    assert profile.addresses == (Address("in", "city_field_value", "street_field_value", "1234567"),)
    assert (profile.email, profile.facebook_id) == ("someone@example.com", "105056625245")
    assert (profile.gender, profile.type, profile.privacy) == ("Male", "Personal", None)
    assert profile.raw == value("mobile_web_profile_response")


@pytest.mark.parametrize(
    ("given_as", "read_as"),
    [
        ("True", True),
        ("False", False),
        ("true", True),
        (True, True),
        (False, False),
        ("yes", None),
        (1, None),
        (None, None),
    ],
)
def test_boolean_may_be_text(given_as: object, read_as: bool | None) -> None:
    assert profile_of({**MINIMAL, "isActive": given_as}).is_active is read_as


@pytest.mark.parametrize("number", [919999999999, "919999999999", "+919999999999", 919999999999.0])
def test_phone_number_may_be_a_number(number: object) -> None:
    assert profile_of({**MINIMAL, "phoneNumbers": [number]}).phone_numbers == ("919999999999",)
    assert verified_number_of({"phoneNumber": number}).phone_number == "919999999999"


@pytest.mark.parametrize("count", [1508089888000, "1508089888000"])
def test_timestamp_may_be_text_or_milliseconds(count: object) -> None:
    assert profile_of({**MINIMAL, "createdTime": count}).created_at == datetime(2017, 10, 15, 17, 51, 28, tzinfo=UTC)


def test_ids_may_be_numbers() -> None:
    profile = profile_of({**MINIMAL, "id": 655574719, "userId": 1319413476})
    assert (profile.id, profile.user_id) == ("655574719", "1319413476")


def test_only_numbers_and_a_first_name_are_needed() -> None:
    assert profile_of(MINIMAL).last_name is None
    assert profile_of({**MINIMAL, "addresses": [{"countryCode": "in"}, None, 7]}).addresses[0] == Address("in")


@pytest.mark.parametrize(
    ("broken", "path"),
    [
        ({"name": {"first": "A"}}, "$.phoneNumbers"),
        ({"name": {"first": "A"}, "phoneNumbers": []}, "$.phoneNumbers"),
        ({"name": {"first": "A"}, "phoneNumbers": [None, True, {}]}, "$.phoneNumbers"),
        ({"phoneNumbers": ["919999999999"]}, "$.name.first"),
        ({"phoneNumbers": ["919999999999"], "name": "Rajat"}, "$.name.first"),
    ],
)
def test_profile_without_required_fields_is_refused_with_the_json_path(broken: dict[str, object], path: str) -> None:
    with pytest.raises(DecodeError) as caught:
        profile_of(broken)
    assert caught.value.path == path


def test_documented_user_info_is_read_completely() -> None:
    user = user_info_of(value("oauth_userinfo_response"))
    assert user.sub == "13627101294235520"
    assert user.phone_number == "91xxxxxxxxxx"
    assert user.phone_number_verified is True
    assert (user.phone_number_country_code, user.locality, user.postal_code) == ("IN", "Bangalore", "5xxxxx")
    assert user.email == "someone@example.com"


def test_sub_beyond_double_precision_keeps_its_digits() -> None:
    assert user_info_of({"sub": 13627101294235521}).sub == "13627101294235521"
    assert user_info_of({"sub": "13627101294235521"}).phone_number is None
    with pytest.raises(DecodeError):
        user_info_of({"given_name": "xyz"})


def test_signed_payload_is_read() -> None:
    profile = true_profile_of(value("sdk2_true_profile_payload_decoded_synthetic"))
    assert profile.phone_number == "919999999999"
    assert profile.requested_at == datetime(2017, 10, 15, 17, 51, 28, tzinfo=UTC)
    assert (profile.is_true_name, profile.is_ambassador) == (True, False)


def test_profile_repr_hides_the_person() -> None:
    for person in (
        profile_of(value("mobile_web_profile_response")),
        user_info_of({**value("oauth_userinfo_response"), "phone_number": "919999999999"}),
        true_profile_of(value("sdk2_true_profile_payload_decoded_synthetic")),
        verified_number_of({"phoneNumber": 919999999999}),
    ):
        shown = repr(person)
        assert "********9999" in shown
        assert not [
            word for word in ("919999999999", "Rajat", "Kapoor", "xyz", "someone@", "Bangalore") if word in shown
        ]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
KEYS = st.sampled_from(
    [
        "phoneNumbers",
        "name",
        "isActive",
        "history",
        "addresses",
        "createdTime",
        "onlineIdentities",
        "badges",
        "sub",
        "address",
        "phone_number",
        "phoneNumber",
        "requestTime",
        "countryCode",
    ]
)


@given(st.dictionaries(KEYS, JSON))
def test_no_value_raises_anything_but_a_decode_error(body: dict[str, Any]) -> None:
    for read in (profile_of, user_info_of, true_profile_of, verified_number_of):
        with suppress(DecodeError):
            read({**MINIMAL, "sub": "1", **body})
