"""The HTTP request of each call: method, URL, headers and body as documented."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from aioresponses import aioresponses
from aioresponses.compat import normalize_url
from yarl import URL

from truecaller_async import BadRequest, CallRecord, Forbidden, PushRejected, TruecallerClient, ValidationError
from truecaller_async.errors import TruecallerDeprecationWarning

ACCOUNT = "00000000-0000-4000-8000-000000000001"
HOST = "https://api.example"
LABEL = "c6d8a1b2-1111-4222-8333-abcdefabcdef"
START = datetime.now(UTC).replace(microsecond=0)
TOKEN = f"{HOST}/clients/{ACCOUNT}/token"
SAMPLES = Path(__file__).parents[1] / "samples"
SET = "069d2e3a-41e6-41f9-a768-157d7e3bd6b9"
NUMBER = "911234567891"

RECORD = CallRecord(
    caller="+910000000001",
    receiver="+91 99000-00007",
    starts_at=START,
    ends_at=START + timedelta(hours=4),
    label_id=LABEL.upper(),
    label_name="Centro Bank",
    reason="Calling you for KYC",
    key="our-own-id",
)
WIRE = {
    "label_id": LABEL,
    "dynamic_label_name": "Centro Bank",
    "dynamic_call_reason": "Calling you for KYC",
    "caller_number": "910000000001",
    "receiver_number": "919900000007",
    "starts_at": int(START.timestamp() * 1000),
    "ends_at": int(START.timestamp() * 1000) + 4 * 3_600_000,
}


@pytest_asyncio.fixture
async def client(http: aioresponses) -> AsyncIterator[TruecallerClient]:
    http.post(TOKEN, payload={"token": "an-access-token"})
    opened = TruecallerClient(client_account_id=ACCOUNT, key_id="the-key-id", api_key="the-api-key", base_url=HOST)
    async with opened:
        yield opened


def sent(http: aioresponses, method: str, url: str) -> tuple[dict[str, str], Any]:
    """Return headers (names in lower case) and body of the only request to this URL."""
    (request,) = http.requests[method, normalize_url(url)]
    body = request.kwargs["data"]
    headers = {name.lower(): value for name, value in request.kwargs["headers"].items()}
    return headers, None if body is None else msgspec.json.decode(body)


async def test_token_is_requested_with_the_key_pair_and_without_authorization(
    http: aioresponses, client: TruecallerClient
) -> None:
    http.post(f"{HOST}/v2/clients/{ACCOUNT}/dynamic_call_record", payload={"status_info": {"status": "success"}})
    await client.calls.push(RECORD)
    headers, body = sent(http, "POST", TOKEN)
    assert body == {"key_id": "the-key-id", "api_key": "the-api-key"}
    assert headers["x-public-access"] == "allow"
    assert "authorization" not in headers


async def test_push_is_one_canonical_record(http: aioresponses, client: TruecallerClient) -> None:
    url = f"{HOST}/v2/clients/{ACCOUNT}/dynamic_call_record"
    http.post(url, payload={"status_info": {"status": "success", "message": "taken"}})
    pushed = await client.calls.push(RECORD)
    headers, body = sent(http, "POST", url)
    assert body == WIRE
    assert headers["authorization"] == "Bearer an-access-token"
    assert headers["content-type"] == "application/json"
    assert (pushed.status, pushed.message) == ("success", "taken")


async def test_refused_record_reports_field_and_reason(http: aioresponses, client: TruecallerClient) -> None:
    refusal = {"status_info": {"status": "error", "field": "receiver_number", "message": "not a user"}}
    http.post(f"{HOST}/v2/clients/{ACCOUNT}/dynamic_call_record", payload=refusal)
    with pytest.raises(PushRejected) as refused:
        await client.calls.push(RECORD)
    assert (refused.value.field, refused.value.message) == ("receiver_number", "not a user")


async def test_batch_is_one_request_with_all_records(http: aioresponses, client: TruecallerClient) -> None:
    url = f"{HOST}/v2/clients/{ACCOUNT}/dynamic_call_records"
    http.post(url, payload={"batch_id": "b-1"})
    batch = await client.batches.submit(iter([RECORD, RECORD]))
    headers, body = sent(http, "POST", url)
    assert body == {"call_records": [WIRE, WIRE]}
    assert headers["authorization"] == "Bearer an-access-token"
    assert batch.batch_id == "b-1"


async def test_status_is_requested_by_the_id_of_the_batch(http: aioresponses, client: TruecallerClient) -> None:
    url = f"{HOST}/v2/clients/{ACCOUNT}/dynamic_call_records?batchId=b-1"
    row = {"id": "r-1", "caller_number": "910000000001", "receiver_number": "919900000007", "status": "success"}
    http.get(url, payload={"batch_id": "b-1", "data": [row]})
    status = await client.batches.status("b-1")
    headers, body = sent(http, "GET", url)
    assert body is None
    assert headers["authorization"] == "Bearer an-access-token"
    assert [(found.id, found.outcome) for found in status.records] == [("r-1", "delivered")]


async def test_copy_of_the_client_speaks_another_version_with_the_same_token(
    http: aioresponses, client: TruecallerClient
) -> None:
    for version in ("/v2", "/v3"):
        http.post(f"{HOST}{version}/clients/{ACCOUNT}/dynamic_call_records", payload={"batch_id": "b-1"})
    await client.batches.submit([RECORD])
    await client.with_options(api_version="v3").batches.submit([RECORD])
    _, body = sent(http, "POST", f"{HOST}/v3/clients/{ACCOUNT}/dynamic_call_records")
    assert body["call_records"][0]["receiver_number"] == "+919900000007"
    assert len(http.requests["POST", URL(TOKEN)]) == 1


@pytest.mark.parametrize("count", [0, 501])
async def test_batch_of_a_wrong_size_is_refused_before_sending(
    http: aioresponses, client: TruecallerClient, count: int
) -> None:
    with pytest.raises(ValidationError, match="1 to 500"):
        await client.batches.submit([RECORD] * count)
    assert not http.requests


async def test_bad_records_are_all_named_before_anything_is_sent(http: aioresponses, client: TruecallerClient) -> None:
    bad = CallRecord(caller="1", receiver="919900000007", starts_at=START, ends_at=START)
    with pytest.raises(ValidationError) as refused:
        await client.batches.submit([RECORD, bad])
    fields = {problem.field for problem in refused.value.problems}
    assert fields == {"records[1].caller", "records[1].ends_at"}
    with pytest.raises(ValidationError):
        await client.calls.push(bad)
    assert not http.requests


def sample(name: str) -> bytes:
    return (SAMPLES / f"{name}.json").read_bytes()


def address(path: str) -> str:
    return f"{HOST}/clients/{ACCOUNT}/{path}"


async def test_labels_are_listed(http: aioresponses, client: TruecallerClient) -> None:
    url = address("labels?page=1&limit=1000")
    http.get(url, body=sample("labels_response"))
    found = [label.name async for label in client.labels.list()]
    headers, body = sent(http, "GET", url)
    assert found == ["FlowerEra", "test-label-priority"]
    assert (body, headers["authorization"], headers["accept"]) == (None, "Bearer an-access-token", "application/json")


async def test_feature_sets_are_listed_over_their_pages(http: aioresponses, client: TruecallerClient) -> None:
    for page in (1, 2):
        body = msgspec.json.decode(sample("feature_sets_response"))
        body["feature_sets"] = body["feature_sets"][page - 1 : page]
        http.get(address(f"number_management/feature_sets?process_id={SET}&page={page}"), payload=body)
    found = [feature_set.name async for feature_set in client.feature_sets.list(process_id=SET)]
    assert found == ["prio1", "New Feature Set-7"]


async def test_numbers_are_listed(http: aioresponses, client: TruecallerClient) -> None:
    http.get(address(f"number_management/numbers?feature_set_id={SET}&page=1"), body=sample("number_details_response"))
    page = await client.numbers.list(feature_set_id=SET)
    assert ([number.label_name for number in page.items], page.total_pages) == (["testLabel from fs page"] * 2, 8)


@pytest.mark.parametrize(
    ("verb", "request_sample", "answer_sample", "status"),
    [
        ("publish", "number_listing_request", "number_listing_response", "pending"),
        ("delist", "number_delisting_request", "number_delisting_response_pending", "pending"),
        ("delist", "number_delisting_request", "number_delisting_response_failed", "failed"),
    ],
)
async def test_numbers_are_listed_and_delisted_with_the_printed_body(
    http: aioresponses, client: TruecallerClient, verb: str, request_sample: str, answer_sample: str, status: str
) -> None:
    url = address(f"number_management/feature_sets/{SET}/numbers/{verb}")
    http.post(url, body=sample(answer_sample))
    job = await getattr(client.numbers, verb)(SET, [f"+{NUMBER}"])
    headers, body = sent(http, "POST", url)
    assert body == msgspec.json.decode(sample(request_sample))
    assert headers["content-type"] == "application/json"
    assert job.status == status


@pytest.mark.parametrize("verb", ["publish", "delist"])
async def test_key_without_number_management_is_forbidden(
    http: aioresponses, client: TruecallerClient, verb: str
) -> None:
    url = address(f"number_management/feature_sets/{SET}/numbers/{verb}")
    http.post(url, status=403, body=sample("number_listing_error_forbidden"))
    with pytest.raises(Forbidden, match="contact your admin"):
        await getattr(client.numbers, verb)(SET, [NUMBER])


async def test_export_is_fetched_from_its_link_without_the_token(
    http: aioresponses, client: TruecallerClient, tmp_path: Path
) -> None:
    link = "https://files.truecaller.com/log.csv?signature=a%2Fb"
    http.get(address("openapi/feedback_stack/s-1/export_report?from_date=1641015429"), body=link)
    http.get(link, body=b"caller,answer\n")
    since = datetime(2022, 1, 1, 5, 37, 9, tzinfo=UTC)
    with pytest.warns(TruecallerDeprecationWarning):
        saved = await client.exports.user_feedback("s-1", tmp_path / "log.csv", from_date=since)
    (fetched,) = [requests for (_, url), requests in http.requests.items() if url.host == "files.truecaller.com"]
    assert "authorization" not in {name.lower() for name in fetched[0].kwargs["headers"]}
    assert saved.read_bytes() == b"caller,answer\n"


async def test_no_call_me_back_log_is_the_documented_error(
    http: aioresponses, client: TruecallerClient, tmp_path: Path
) -> None:
    http.get(
        address("openapi/callback-logs/summary?from=1641015429&to=1641551777"), body=sample("call_me_back_v1_error")
    )
    start, end = (datetime.fromtimestamp(seconds, UTC) for seconds in (1641015429, 1641551777))
    with pytest.warns(TruecallerDeprecationWarning), pytest.raises(BadRequest, match="No CMB found"):
        await client.exports.call_me_back(tmp_path / "log.csv", start=start, end=end)
    assert not (tmp_path / "log.csv").exists()
