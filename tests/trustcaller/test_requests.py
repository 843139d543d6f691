"""The exact requests to TrustCaller, and the arguments that are refused before sending."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import msgspec
import pytest

from truecaller_async.errors import ValidationError
from truecaller_async.models import Request
from truecaller_async.trustcaller import requests

from .scripted_client import SAMPLES

MAY = date(2026, 5, 1)
MID_MAY = date(2026, 5, 15)


@pytest.mark.parametrize(
    ("request_", "line"),
    [
        (requests.numbers_request(1, 50), "GET /numbers?page=1&per_page=50"),
        (requests.numbers_request(2, None), "GET /numbers?page=2"),
        (requests.public_test_numbers_request(None), "GET /test-numbers"),
        (requests.public_test_numbers_request("+8613"), "GET /test-numbers?prefix=8613"),
        (requests.calls_request(1, None, None, None), "GET /calls?page=1"),
        (
            requests.calls_request(1, 100, MAY, MID_MAY),
            "GET /calls?from=2026-05-01&to=2026-05-15&page=1&per_page=100",
        ),
        (requests.calls_request(3, None, None, MID_MAY), "GET /calls?to=2026-05-15&page=3"),
        (requests.call_request(98765), "GET /calls/98765"),
        (requests.check_request("+120000486562997"), "GET /calls/check?number=120000486562997"),
        (requests.create_key_request("Production server"), "POST /auth/keys"),
        (requests.keys_request(), "GET /auth/keys"),
        (requests.revoke_key_request(7), "DELETE /auth/keys/7"),
    ],
    ids=str,
)
def test_every_call_is_the_documented_request(request_: Request, line: str) -> None:
    assert f"{request_.method} {request_.path}" == line
    assert request_.headers["Accept"] == "application/json"


def test_body_of_a_new_key_is_the_documented_one() -> None:
    made = requests.create_key_request("Production server")
    assert made.headers["Content-Type"] == "application/json"
    assert msgspec.json.decode(made.body or b"") == msgspec.json.decode(
        (SAMPLES / "create_key_request.json").read_bytes()
    )


INVALID_ARGUMENTS: list[tuple[Callable[..., Request], tuple[Any, ...], str]] = [
    (requests.numbers_request, (0, None), "page.whole"),
    (requests.numbers_request, (True, None), "page.whole"),
    (requests.numbers_request, (1, 0), "per_page.whole"),
    (requests.numbers_request, (1, 1001), "per_page.range"),
    (requests.public_test_numbers_request, ("86 13",), "prefix.form"),
    (requests.public_test_numbers_request, (8613,), "prefix.form"),
    (requests.calls_request, (1, None, datetime(2026, 5, 1, tzinfo=UTC), None), "from_date.type"),
    (requests.calls_request, (1, None, None, "2026-05-01"), "to_date.type"),
    (requests.calls_request, (1, None, MID_MAY, MAY), "from_date.order"),
    (requests.call_request, ("check",), "call_id.whole"),
    (requests.call_request, (-1,), "call_id.whole"),
    (requests.check_request, ("",), "number.form"),
    (requests.check_request, ("0120000486562997",), "number.form"),
    (requests.check_request, ("1200-004",), "number.form"),
    (requests.check_request, ("1" * 16,), "number.form"),
    (requests.check_request, ("٣٤٥٦٧٨٩",), "number.form"),
    (requests.check_request, (None,), "number.form"),
    (requests.create_key_request, ("",), "name.form"),
    (requests.create_key_request, (" ",), "name.form"),
    (requests.create_key_request, ("n" * 65,), "name.form"),
    (requests.create_key_request, (None,), "name.form"),
    (requests.create_key_request, ("\ud800",), "encoding"),
    (requests.revoke_key_request, ("../keys",), "key_id.whole"),
]


@pytest.mark.parametrize(("build", "arguments", "rule"), INVALID_ARGUMENTS)
def test_wrong_argument_is_refused_with_the_rule(
    build: Callable[..., Request], arguments: tuple[Any, ...], rule: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        build(*arguments)
    assert [problem.rule for problem in caught.value.problems] == [rule]


def test_number_that_is_refused_is_masked() -> None:
    with pytest.raises(ValidationError) as caught:
        requests.check_request("0120000486562997")
    assert "0486562997" not in str(caught.value)
    assert "2997" in str(caught.value)
