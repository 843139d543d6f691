"""Hostile bodies: the protocol raises only errors of the package."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from truecaller_async.errors import DecodeError, TruecallerError
from truecaller_async.models import Answer
from truecaller_async.protocol.responses import (
    error_for,
    read_download,
    read_export,
    read_feature_sets,
    read_labels,
    read_mint,
    read_number_job,
    read_numbers,
    read_push,
    read_status,
    read_submit,
)
from truecaller_async.validation.timestamps import parse_rfc3339

from .answers import NOW, SAMPLES, answer

Decipher = Callable[[Answer], object]

DECIPHERS: dict[str, Decipher] = {
    "mint": lambda given: read_mint(given, now=NOW),
    "push": lambda given: read_push(given, now=NOW),
    "submit": lambda given: read_submit(given, now=NOW),
    "status": lambda given: read_status("v2", given, "b-1", now=NOW),
    "labels": lambda given: read_labels(given, now=NOW),
    "numbers": lambda given: read_numbers(given, now=NOW),
    "number_job": lambda given: read_number_job(given, now=NOW),
    "feature_sets": lambda given: read_feature_sets(given, now=NOW),
    "export": lambda given: read_export(given, now=NOW),
}
DOWNLOAD: Decipher = lambda given: read_download(given, now=NOW)  # noqa: E731 - as those above

BROKEN = {
    "truncated": b'{"batch_id": "b-1", "data": [{"id": "r',
    "bad utf-8": b'{"batch_id": "\xff\xfe", "token": "\xff", "status": "\xff"}',
    "raw surrogate": b'{"token": "\xed\xa0\x80", "batch_id": "\xed\xa0\x80"}',
    "half a surrogate pair": b'{"token": "\\ud800", "batch_id": "\\udc00", "status": "\\ud800"}',
    "not a number": b'{"token": NaN, "batch_id": NaN, "data": NaN}',
    "infinity": b'{"token": Infinity, "batch_id": -Infinity, "data": 1e999}',
    "deep arrays": b"[" * 100_000,
    "deep objects": b'{"status_info":' * 100_000,
    "deep inside an unknown key": b'{"batch_id": "b-1", "token": "t", "x": ' + b"[" * 100_000,
    "5,000 digits": b'{"batch_id": ' + b"9" * 5000 + b', "status": "success"}',
    "bare digits": b"9" * 5000,
    "byte order mark": b'\xef\xbb\xbf{"batch_id": "b-1", "token": "t", "status": "success"}',
    "nul": b"\x00",
}


@pytest.mark.parametrize("name", DECIPHERS)
@pytest.mark.parametrize("body", BROKEN.values(), ids=BROKEN.keys())
def test_broken_body_in_a_success_is_a_decode_error(name: str, body: bytes) -> None:
    with pytest.raises(DecodeError):
        DECIPHERS[name](answer(body, content_type="application/json"))


@pytest.mark.parametrize("body", BROKEN.values(), ids=BROKEN.keys())
@pytest.mark.parametrize("status", [302, 400, 401, 429, 500])
def test_broken_body_in_an_error_still_gives_the_error_of_its_status(body: bytes, status: int) -> None:
    error = error_for(answer(body, status), is_read=True, now=NOW)
    assert (error.status, error.slug, error.message) == (status, None, None)
    assert len(error.body) <= 2000


def only_our_errors(given: Answer) -> None:
    """Call the reader and accept errors of the package; any other exception fails the test."""
    for decipher in (*DECIPHERS.values(), DOWNLOAD):
        with contextlib.suppress(TruecallerError):
            decipher(given)


STATUSES = st.sampled_from([200, 200, 200, 204, 301, 400, 401, 403, 404, 422, 429, 500, 503, 600])
HEADERS = st.dictionaries(st.sampled_from(["content-type", "retry-after", "date", "location"]), st.text(max_size=20))


@given(body=st.binary(max_size=200), status=STATUSES, headers=HEADERS)
def test_arbitrary_bytes_raise_only_errors_of_the_library(body: bytes, status: int, headers: dict[str, str]) -> None:
    only_our_errors(Answer(status, headers, body))


KEYS = st.sampled_from(
    [
        "slug", "message", "status", "field", "status_info", "statusInfo", "batch_id", "data", "token", "numbers",
        "new_numbers", "feature_sets", "pagination_info", "id", "caller", "caller_number", "receiver_number",
        "starts_at", "created_at", "client_account_id", "phone_number", "call_me_back", "total_page_count",
    ]
)  # fmt: skip
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["success", "error", "b-1", "2025-07-23T09:07:32.21Z", "parse token"])
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=6),
    max_leaves=20,
)


@given(value=JSON, status=STATUSES)
def test_json_with_documented_names_raises_only_library_errors(value: object, status: int) -> None:
    only_our_errors(answer(json.dumps(value).encode(), status))


@given(
    name=st.sampled_from(sorted(path.relative_to(SAMPLES).as_posix() for path in SAMPLES.rglob("*.json"))),
    cut=st.integers(0, 2000),
    put=st.binary(max_size=3),
    status=STATUSES,
)
def test_damaged_sample_raises_only_errors_of_the_library(name: str, cut: int, put: bytes, status: int) -> None:
    raw = (SAMPLES / name).read_bytes()
    only_our_errors(answer(raw[:cut] + put + raw[cut + len(put) :], status))


@given(text=st.text(max_size=40) | st.from_regex(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]{8,20}(Z|[+-][0-9:]{5})"))
def test_timestamp_is_aware_or_none(text: str) -> None:
    instant = parse_rfc3339(text)
    assert instant is None or instant.tzinfo is not None
