"""Requests: paths that arguments cannot change, bodies with the values of the record, hidden secrets."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from truecaller_async.errors import ConfigError, ValidationError
from truecaller_async.models import CallRecord, RecordColumns, Request, Secret
from truecaller_async.options import Credentials
from truecaller_async.protocol.requests import (
    labels_request,
    mint_request,
    push_request,
    status_request,
    submit_request,
)
from truecaller_async.protocol.versions.registry import VERSIONS

from .answers import ACCOUNT, record

DIGITS = st.text("0123456789", min_size=7, max_size=15)
WORDS = st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=100)
RECORDS = st.builds(
    CallRecord,
    caller=DIGITS,
    receiver=DIGITS,
    starts_at=st.integers(0, 2**53),
    ends_at=st.integers(0, 2**53),
    label_id=WORDS,
    label_name=WORDS,
    reason=WORDS,
)


def read_v1(wire: dict[str, Any]) -> CallRecord:
    return CallRecord(
        wire["caller"],
        wire["receiver"],
        wire["starts_at"],
        wire["ends_at"],
        wire.get("label_id"),
        wire.get("label_name"),
        wire.get("call_reason"),
    )


def read_v2(wire: dict[str, Any]) -> CallRecord:
    return CallRecord(
        wire["caller_number"],
        wire["receiver_number"],
        wire["starts_at"],
        wire["ends_at"],
        wire.get("label_id"),
        wire.get("dynamic_label_name"),
        wire.get("dynamic_call_reason"),
    )


def read_v3(wire: dict[str, Any]) -> CallRecord:
    read = read_v2(wire)
    assert read.caller[0] == read.receiver[0] == "+"
    return attrs.evolve(read, caller=read.caller[1:], receiver=read.receiver[1:])


READERS: dict[str, Callable[[dict[str, Any]], CallRecord]] = {"v1": read_v1, "v2": read_v2, "v3": read_v3}


@pytest.mark.parametrize("version", READERS)
@given(given_record=RECORDS)
def test_pushed_record_keeps_its_meaning(version: str, given_record: CallRecord) -> None:
    body = push_request(version, ACCOUNT, given_record).body or b""
    wire = json.loads(body)
    assert READERS[version](wire) == given_record
    assert None not in wire.values(), "what a record does not say is left out, never null"


@pytest.mark.parametrize("version", READERS)
@given(records=st.lists(RECORDS, min_size=1, max_size=5))
def test_batch_keeps_its_records_and_their_order(version: str, records: list[CallRecord]) -> None:
    body = submit_request(version, ACCOUNT, RecordColumns.of(records)).body or b""
    assert [READERS[version](wire) for wire in json.loads(body)["call_records"]] == records


def test_every_version_has_a_reader_here() -> None:
    assert READERS.keys() == VERSIONS.keys()


def test_caller_s_own_key_is_never_sent() -> None:
    request = push_request("v2", ACCOUNT, attrs.evolve(record(), key="order-4711"))
    assert b"order-4711" not in (request.body or b"")


@pytest.mark.parametrize(
    ("version", "path"),
    [
        ("v1", f"/clients/{ACCOUNT}/dynamic_call_record"),
        ("v2", f"/v2/clients/{ACCOUNT}/dynamic_call_record"),
        ("v3", f"/v3/clients/{ACCOUNT}/dynamic_call_record"),
    ],
)
def test_batch_path_differs_by_one_letter_and_version_1_has_no_segment(version: str, path: str) -> None:
    push = push_request(version, ACCOUNT, record())
    submit = submit_request(version, ACCOUNT, RecordColumns.of([record()]))
    status = status_request(version, ACCOUNT, "b-1")
    assert (push.call, push.method, push.path) == ("push", "POST", path)
    assert (submit.call, submit.method, submit.path) == ("submit", "POST", f"{path}s")
    assert (status.call, status.method, status.path) == ("status", "GET", f"{path}s?batchId=b-1")


def test_writes_are_json_and_a_read_has_no_body_and_a_larger_cap() -> None:
    push = push_request("v2", ACCOUNT, record())
    status = status_request("v2", ACCOUNT, "b-1")
    assert push.headers == {"Content-Type": "application/json", "Accept": "application/json"}
    assert push.body_max_bytes == 64 * 1024
    assert (status.body, status.headers, status.body_max_bytes) == (
        None,
        {"Accept": "application/json"},
        2 * 1024 * 1024,
    )
    assert status.is_read
    assert not push.is_read


def test_mint_request_needs_no_token_and_shows_no_key() -> None:
    request = mint_request(Credentials(ACCOUNT, "key-1", Secret("s3cr3t-api-key")))
    assert (request.call, request.method, request.path) == ("mint", "POST", f"/clients/{ACCOUNT}/token")
    assert request.headers["X-Public-Access"] == "allow"
    assert request.body == b'{"key_id":"key-1","api_key":"s3cr3t-api-key"}'
    assert request.token is None
    assert "s3cr3t" not in repr(request)


@given(
    batch_id=st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=200).filter(
        lambda text: "../" not in text and "..\\" not in text
    )
)
def test_printable_batch_id_is_sent_unchanged_in_the_query(batch_id: str) -> None:
    parts = urlsplit(status_request("v2", ACCOUNT, batch_id).path)
    assert parts.path == f"/v2/clients/{ACCOUNT}/dynamic_call_records"
    assert parts.fragment == ""
    assert parse_qs(parts.query, keep_blank_values=True) == {"batchId": [batch_id]}


@pytest.mark.parametrize(
    "batch_id",
    [
        "",
        " ",
        "a\r\nb",
        "a\x00",
        "é",
        "a" * 201,
        "\u0661",
        "b-1\n",
        "../b-1",
        "a/../b",
        "..\\b",
        7,
        None,
        b"b-1",
        ["b-1"],
    ],
)
def test_batch_id_that_is_not_printable_ascii_of_sane_length_is_refused(batch_id: Any) -> None:
    with pytest.raises(ValidationError) as caught:
        status_request("v2", ACCOUNT, batch_id)
    assert [problem.field for problem in caught.value.problems] == ["batch_id"]
    assert "submit returned" in str(caught.value)


def test_documented_non_uuid_batch_id_is_accepted() -> None:
    assert status_request("v2", ACCOUNT, "d76s5-dfg9d-o32442-837467854").path.endswith("=d76s5-dfg9d-o32442-837467854")


def test_page_of_labels_is_requested_as_documented() -> None:
    request = labels_request(ACCOUNT, 1, 1000)
    assert (request.call, request.method, request.path) == (
        "labels",
        "GET",
        f"/clients/{ACCOUNT}/labels?page=1&limit=1000",
    )
    assert (request.body, request.headers) == (None, {"Accept": "application/json"})


NO_WHOLE_NUMBER = [0, -1, True, 1.0, "1", None, 2**63, pytest.param(10**5000, id="5001 digits")]


@pytest.mark.parametrize("value", NO_WHOLE_NUMBER)
def test_pages_and_limits_are_positive_integers_and_problems_come_together(value: Any) -> None:
    with pytest.raises(ValidationError) as caught:
        labels_request(ACCOUNT, value, value)
    assert [(problem.field, problem.rule) for problem in caught.value.problems] == [
        ("page", "page.whole"),
        ("limit", "limit.whole"),
    ]


def build_push(account: str) -> Request:
    return push_request("v2", account, record())


def build_submit(account: str) -> Request:
    return submit_request("v2", account, RecordColumns.of([record()]))


def build_status(account: str) -> Request:
    return status_request("v2", account, "b-1")


def build_labels(account: str) -> Request:
    return labels_request(account, 1, 1000)


@pytest.mark.parametrize("build", [build_push, build_submit, build_status, build_labels])
@pytest.mark.parametrize("account", ["../../admin", "", ACCOUNT + "/..", ACCOUNT + "\n", ACCOUNT + "?x=1"])
def test_account_id_that_is_no_uuid_is_refused(build: Callable[[str], Request], account: str) -> None:
    with pytest.raises(ConfigError, match="client_account_id"):
        build(account)


def test_unknown_version_is_a_setting_that_is_wrong() -> None:
    with pytest.raises(ConfigError, match="v1, v2, v3"):
        push_request("v4", ACCOUNT, record())


@pytest.mark.parametrize("size", [0, 501])
def test_batch_has_1_to_500_records(size: int) -> None:
    with pytest.raises(ValidationError, match="1 to 500"):
        submit_request("v2", ACCOUNT, RecordColumns.of([record()] * size))


@pytest.mark.parametrize("version", VERSIONS)
def test_time_that_is_not_in_milliseconds_is_refused(version: str) -> None:
    raw = attrs.evolve(record(), ends_at=datetime(2025, 7, 23, tzinfo=UTC))
    with pytest.raises(ValidationError, match="ends_at") as caught:
        push_request(version, ACCOUNT, raw)
    assert caught.value.sent == "no"


def test_unpaired_surrogate_is_refused_with_a_message() -> None:
    with pytest.raises(ValidationError, match="surrogate"):
        push_request("v2", ACCOUNT, record(reason="Calling about \ud800 your order"))


@pytest.mark.parametrize("version", VERSIONS)
@given(
    one=RECORDS,
    receivers=st.lists(st.one_of(DIGITS, st.sampled_from(["<receiver>", '9"1', "+91", "\u0661\u0662"])), min_size=1),
)
def test_batch_to_many_receivers_encodes_like_its_single_records(
    version: str, one: CallRecord, receivers: list[str]
) -> None:
    records = [attrs.evolve(one, receiver=receiver) for receiver in receivers]
    singly = b",".join(push_request(version, ACCOUNT, record).body or b"" for record in records)
    body = submit_request(version, ACCOUNT, RecordColumns.of(records)).body
    assert body == b'{"call_records":[' + singly + b"]}"


def test_reason_may_contain_the_template_placeholder() -> None:
    records = [attrs.evolve(record(), reason=f"Calling <receiver> number {n}") for n in (1, 1)]
    body = submit_request("v2", ACCOUNT, RecordColumns.of(records)).body or b""
    assert [one["dynamic_call_reason"] for one in json.loads(body)["call_records"]] == [
        "Calling <receiver> number 1"
    ] * 2
