"""The request of each endpoint equals the documented one byte for byte, and its documented answer is decoded.

Only masked numbers and windows longer than the documented maximum are replaced in a sample. The wall clock has the time
of the sample.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aioresponses import aioresponses
from aioresponses.compat import normalize_url

from truecaller_async import (
    Batch,
    BatchStatus,
    CallRecord,
    NumberJob,
    Outcome,
    Page,
    PushAnswer,
    TruecallerClient,
    TruecallerDeprecationWarning,
)
from truecaller_async.clock import Clock

from .table import DEPRECATED, ENDPOINTS, Arguments, Endpoint

SAMPLES = Path(__file__).parents[1] / "samples"
HOST = "https://api.example"
ACCOUNT = "91c173bb-28d8-4030-9722-8663ff9589f3"
FEATURE_SET = "069d2e3a-41e6-41f9-a768-157d7e3bd6b9"
KEY_ID, API_KEY = "aaaee1b1-7a2f-4c0b-8271-4e2b41c1bf01", "caf1694e-b8a4-4082-82fc-105a0a63eafe"
CALLER, RECEIVER = "911234567898", "919234567898"
DAY_MS = 86_400_000
FIRST_MS = 1_751_879_424_883
"""The start of the earliest sample; the times of the documented v1 batch, 1 and 2, are placeholders."""
LINK = f"{HOST}/files/1"

REQUESTS = {
    1: "token_request",
    2: "undocumented/realtime_v3_request_inferred",
    3: "undocumented/batch_v3_request_inferred",
    5: "realtime_v2_request",
    6: "batch_v2_request",
    8: "realtime_v1_request",
    9: "batch_v1_request",
    12: "number_listing_request",
    13: "number_delisting_request",
}
ANSWERS = {
    1: "token_response",
    2: "undocumented/realtime_v3_response_success_inferred",
    3: "undocumented/batch_v3_response_inferred",
    4: "undocumented/batch_v3_status_response_inferred",
    5: "realtime_v2_response_success",
    6: "batch_v2_response",
    7: "batch_v2_status_response",
    8: "realtime_v1_response_success",
    9: "batch_v1_response_success",
    10: "batch_v1_status_response",
    11: "labels_response",
    12: "number_listing_response",
    13: "number_delisting_response_pending",
    14: "number_details_response",
    15: "feature_sets_response",
}
KINDS: dict[str, type] = {
    "push": PushAnswer,
    "submit": Batch,
    "status": BatchStatus,
    "labels": Page,
    "feature_sets": Page,
    "exports": Path,
}


def sample(name: str) -> Any:
    return json.loads((SAMPLES / f"{name}.json").read_text("utf-8"))


def usable(record: dict[str, Any], *, plus: bool) -> dict[str, Any]:
    """Return the documented record with real numbers and a window of at most one day, in the same key order."""
    numbers = {"caller": CALLER, "caller_number": CALLER, "receiver": RECEIVER, "receiver_number": RECEIVER}
    starts_at = max(record["starts_at"], FIRST_MS)
    window = min(record["ends_at"] - record["starts_at"], DAY_MS)
    times = {"starts_at": starts_at, "ends_at": starts_at + window}
    return {
        key: ("+" if plus else "") + numbers[key] if key in numbers else times.get(key, value)
        for key, value in record.items()
    }


def documented(endpoint: Endpoint) -> Any:
    """Return the documented body of the request; None if it has no body."""
    if endpoint.number not in REQUESTS:
        return None
    body = sample(REQUESTS[endpoint.number])
    plus = endpoint.version == "v3"
    if endpoint.call == "push":
        return usable(body, plus=plus)
    if endpoint.call == "submit":
        return {"call_records": [usable(record, plus=plus) for record in body["call_records"]]}
    return body


def record_of(endpoint: Endpoint) -> CallRecord:
    """Return the record of the documented body."""
    body = documented(endpoint)
    wire = body["call_records"][0] if endpoint.call == "submit" else body
    first, second, name, reason = (
        ("caller", "receiver", "label_name", "call_reason")
        if endpoint.version == "v1"
        else ("caller_number", "receiver_number", "dynamic_label_name", "dynamic_call_reason")
    )
    return CallRecord(
        wire[first], wire[second], wire["starts_at"], wire["ends_at"], wire["label_id"], wire[name], wire[reason]
    )


def given_for(endpoint: Endpoint, folder: Path) -> Arguments:
    record = record_of(endpoint) if endpoint.call in ("push", "submit") else CallRecord(CALLER, RECEIVER, 1, 2)
    return Arguments(record, FEATURE_SET, "911234567891", folder, batch_id_of(endpoint))


def batch_id_of(endpoint: Endpoint) -> str:
    if endpoint.call != "status":
        return ""
    answer = sample(ANSWERS[endpoint.number])
    return str(answer[0]["batch_id"] if endpoint.version == "v1" else answer["batch_id"])


def address(endpoint: Endpoint, batch_id: str) -> str:
    filled = f"{endpoint.path}?{endpoint.query}" if endpoint.query else endpoint.path
    return HOST + filled.format(id=ACCOUNT, set=FEATURE_SET, batch=batch_id)


@pytest_asyncio.fixture
async def client(http: aioresponses) -> AsyncIterator[TruecallerClient]:
    http.post(f"{HOST}/clients/{ACCOUNT}/token", payload=sample("token_response"))
    http.get(f"{HOST}/clients/{ACCOUNT}/labels?page=1&limit=1000", payload=sample("labels_response"))
    async with TruecallerClient(client_account_id=ACCOUNT, key_id=KEY_ID, api_key=API_KEY, base_url=HOST) as opened:
        yield opened


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=str)
async def test_request_matches_the_documented_one_and_its_answer_is_parsed(
    endpoint: Endpoint, http: aioresponses, client: TruecallerClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = given_for(endpoint, tmp_path)
    begins = given.record.starts_at
    assert isinstance(begins, int)
    monkeypatch.setattr(Clock, "wall", lambda _: begins / 1000)
    url = address(endpoint, given.batch_id)
    if endpoint.call == "exports":
        http.get(url, body=LINK)
        http.get(LINK, body="a,b\n1,2\n")
    elif endpoint.number not in (1, 11):
        http.add(url, method=endpoint.method, payload=sample(ANSWERS[endpoint.number]))

    deprecated = endpoint.number in DEPRECATED
    with pytest.warns(TruecallerDeprecationWarning) if deprecated else nullcontext():
        answer = await endpoint.use(client, given)

    (request,) = http.requests[endpoint.method, normalize_url(url)]
    body = documented(endpoint)
    assert request.kwargs["data"] == (None if body is None else json.dumps(body, separators=(",", ":")).encode())
    headers = {name.lower(): value for name, value in request.kwargs["headers"].items()}
    token = None if endpoint.call == "mint" else f"Bearer {sample('token_response')['token']}"
    assert headers.get("authorization") == token
    assert headers.get("content-type") == (None if body is None else "application/json")
    assert_understood(endpoint, answer)


def assert_understood(endpoint: Endpoint, answer: Any) -> None:
    if endpoint.call == "numbers":
        assert isinstance(answer, NumberJob if endpoint.method == "POST" else Page)
    elif endpoint.call != "mint":
        assert isinstance(answer, KINDS[endpoint.call])
    match answer:
        case PushAnswer():
            assert answer.status == "success"
        case BatchStatus():
            assert [record.outcome for record in answer.records] == [Outcome.DELIVERED] * len(answer.records)
            assert answer.records
        case NumberJob():
            assert answer.status == "pending"
        case Page():
            assert len(answer.items) == 2
        case Path():
            assert answer.read_text("utf-8") == "a,b\n1,2\n"


def test_table_has_every_documented_endpoint() -> None:
    assert [endpoint.number for endpoint in ENDPOINTS] == list(range(1, 18))
