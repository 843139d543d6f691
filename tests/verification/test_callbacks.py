"""Documented callbacks are decoded, unknown ones are no error, and other bodies are a `DecodeError`."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from truecaller_async.errors import DecodeError
from truecaller_async.models import Secret
from truecaller_async.verification import FlowInvoked, ProfileReady, UnknownCallback, UserRejected, parse_callback

from .samples import sample


def test_documented_callbacks_are_read() -> None:
    assert parse_callback(sample("mobile_web_callback_flow_invoked")) == FlowInvoked("<<Request_Nonce Value>>")
    assert parse_callback(sample("mobile_web_callback_success")) == ProfileReady(
        "RL8YZ41FQMt5Jiak2sc_Ys0OgQA=",
        Secret("a1asX--8_yw-OF--E6Gj_DPyKelJIGUUeYB9U9MJhyeu4hOCbrl"),
        "https://profile4-noneu.truecaller.com/v1/default",
    )
    assert parse_callback(sample("mobile_web_callback_user_rejected")) == UserRejected("WZqlS6PqY0ycO3mKlEuI=")


def test_undocumented_rejection_status_is_a_rejection_and_is_kept() -> None:
    seen = parse_callback(sample("mobile_web_callback_use_another_number_observed"))
    assert seen == UserRejected("WZqlS6PqY0ycO3mKlEuI=", "use_another_number")


@pytest.mark.fault("S24")
def test_callback_that_holds_a_token_does_not_show_it() -> None:
    token = "a1asX--8_yw-OF--E6Gj"
    assert token not in repr(parse_callback(sample("mobile_web_callback_success")))
    unusual = parse_callback(json.dumps({"requestId": "r", "accessToken": token}).encode())
    assert isinstance(unusual, UnknownCallback)
    assert token not in repr(unusual)


@pytest.mark.parametrize(
    ("body", "request_id"),
    [
        ({}, None),
        ({"requestId": 7, "status": "flow_invoked"}, None),
        ({"requestId": None}, None),
        ({"requestId": "r"}, "r"),
        ({"requestId": "r", "status": "something_new"}, "r"),
        ({"requestId": "r", "status": ["flow_invoked"]}, "r"),
        ({"requestId": "r", "accessToken": "t"}, "r"),
        ({"requestId": "r", "accessToken": "t", "endpoint": None}, "r"),
        ({"requestId": "r", "accessToken": "", "endpoint": "e"}, "r"),
        ({"requestId": "r", "accessToken": "a\r\nb", "endpoint": "e"}, "r"),
        ({"requestId": "r", "accessToken": 7, "endpoint": "e", "status": "flow_invoked"}, "r"),
        ({"requestId": "r", "accessToken": "x" * 5000, "endpoint": "e"}, "r"),
    ],
)
def test_callback_of_an_unknown_kind_is_kept_as_unknown(body: dict[str, object], request_id: str | None) -> None:
    callback = parse_callback(json.dumps(body).encode())
    assert isinstance(callback, UnknownCallback)
    assert callback.request_id == request_id
    assert callback.raw == body


def test_overlong_endpoint_is_truncated() -> None:
    endpoint = "https://profile.example/v1/" + "x" * 60_000
    callback = parse_callback(json.dumps({"requestId": "r", "accessToken": "t", "endpoint": endpoint}).encode())
    assert isinstance(callback, ProfileReady)
    assert callback.endpoint == endpoint[:513]


def test_extra_keys_are_skipped() -> None:
    assert parse_callback(b'{"requestId": "r", "status": "flow_invoked", "new": {"x": [1]}}') == FlowInvoked("r")


UNREADABLE_BODIES = {
    "nothing": b"",
    "no JSON": b"requestId=r",
    "a list": b"[]",
    "a text": b'"flow_invoked"',
    "null": b"null",
    "NaN": b'{"requestId": NaN}',
    "deep": b'{"requestId":' + b"[" * 30_000 + b"]" * 30_000 + b"}",
    "digits": b'{"requestId": ' + b"9" * 5000 + b"}",
    "half a surrogate pair": b'{"requestId": "\\ud800"}',
    "not UTF-8": b'{"requestId": "\xff"}',
    "cut short": b'{"requestId": "r"',
    "too large": b'{"requestId": "' + b"r" * 65536 + b'"}',
}


@pytest.mark.parametrize("name", UNREADABLE_BODIES)
def test_malformed_body_is_a_decode_error_that_quotes_nothing(name: str) -> None:
    with pytest.raises(DecodeError) as caught:
        parse_callback(UNREADABLE_BODIES[name])
    assert caught.value.body == ""


@given(st.binary(max_size=300))
def test_no_body_raises_anything_but_a_decode_error(body: bytes) -> None:
    with suppress(DecodeError):
        parse_callback(body)
