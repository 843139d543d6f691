"""The table of the 17 endpoints, numbered as in the documentation, each with the call that uses it.

Each row is tested twice: with a mocked network, where the request must equal the documented one byte for byte, and over
a real socket with the sandbox. A new endpoint is added only here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import attrs

from truecaller_async import CallRecord, TruecallerClient

SURVEY = "survey-2025"
FROM = datetime(2022, 1, 1, 5, 37, 9, tzinfo=UTC)
TO = datetime(2022, 1, 7, 10, 36, 17, tzinfo=UTC)
"""The times of the documented examples, 1641015429 and 1641551777 in epoch seconds."""


@attrs.frozen
class Arguments:
    """The arguments of a call."""

    record: CallRecord
    feature_set_id: str
    number: str
    folder: Path
    batch_id: str = ""


Use = Callable[[TruecallerClient, Arguments], Awaitable[Any]]


@attrs.frozen
class Endpoint:
    """One row. `call` is the name of the call in limits and counts; `query` is the query of its URL."""

    number: int
    version: str | None
    method: str
    path: str
    call: str
    use: Use
    query: str = ""

    def __str__(self) -> str:
        return f"{self.number}-{self.call}" + (f"-{self.version}" if self.version else "")


async def _push(version: str, client: TruecallerClient, given: Arguments) -> object:
    return await client.with_options(api_version=version).calls.push(given.record)


async def _submit(version: str, client: TruecallerClient, given: Arguments) -> object:
    return await client.with_options(api_version=version).batches.submit([given.record])


async def _status(version: str, client: TruecallerClient, given: Arguments) -> object:
    return await client.with_options(api_version=version).batches.status(given.batch_id)


async def _labels(client: TruecallerClient, given: Arguments) -> object:
    return await client.labels.list(page=1, limit=1000)


async def _publish(client: TruecallerClient, given: Arguments) -> object:
    return await client.numbers.publish(given.feature_set_id, [given.number])


async def _delist(client: TruecallerClient, given: Arguments) -> object:
    return await client.numbers.delist(given.feature_set_id, [given.number])


async def _numbers(client: TruecallerClient, given: Arguments) -> object:
    return await client.numbers.list(feature_set_id=given.feature_set_id)


async def _feature_sets(client: TruecallerClient, given: Arguments) -> object:
    return await client.feature_sets.list()


async def _user_feedback(client: TruecallerClient, given: Arguments) -> object:
    return await client.exports.user_feedback(SURVEY, given.folder / "feedback.csv", from_date=FROM)


async def _call_me_back(client: TruecallerClient, given: Arguments) -> object:
    return await client.exports.call_me_back(given.folder / "calls.csv", start=FROM, end=TO)


def _versioned(first: int, version: str, prefix: str) -> tuple[Endpoint, ...]:
    one, many = (f"{prefix}/clients/{{id}}/dynamic_call_record{plural}" for plural in ("", "s"))
    return (
        Endpoint(first, version, "POST", one, "push", partial(_push, version)),
        Endpoint(first + 1, version, "POST", many, "submit", partial(_submit, version)),
        Endpoint(first + 2, version, "GET", many, "status", partial(_status, version), "batchId={batch}"),
    )


SETS = "/clients/{id}/number_management/feature_sets"
SET = SETS + "/{set}/numbers"
EXPORTS = "/clients/{id}/openapi"

ENDPOINTS = (
    Endpoint(1, None, "POST", "/clients/{id}/token", "mint", _labels),
    *_versioned(2, "v3", "/v3"),
    *_versioned(5, "v2", "/v2"),
    *_versioned(8, "v1", ""),
    Endpoint(11, None, "GET", "/clients/{id}/labels", "labels", _labels, "page=1&limit=1000"),
    Endpoint(12, None, "POST", SET + "/publish", "numbers", _publish),
    Endpoint(13, None, "POST", SET + "/delist", "numbers", _delist),
    Endpoint(
        14, None, "GET", "/clients/{id}/number_management/numbers", "numbers", _numbers, "feature_set_id={set}&page=1"
    ),
    Endpoint(15, None, "GET", SETS, "feature_sets", _feature_sets, "page=1"),
    Endpoint(
        16,
        None,
        "GET",
        EXPORTS + f"/feedback_stack/{SURVEY}/export_report",
        "exports",
        _user_feedback,
        "from_date=1641015429",
    ),
    Endpoint(
        17,
        None,
        "GET",
        EXPORTS + "/callback-logs/summary",
        "exports",
        _call_me_back,
        "from=1641015429&to=1641551777",
    ),
)

DEPRECATED = {endpoint.number for endpoint in ENDPOINTS if endpoint.version == "v1" or endpoint.call == "exports"}


def record_now(now: datetime, label_id: str) -> CallRecord:
    """Make a record that is valid from `now` on."""
    return CallRecord(
        "911234567898",
        "919234567898",
        now,
        now + timedelta(hours=4),
        label_id=label_id,
        label_name="Centro Bank KYC Department",
        reason="Calling you for KYC Verification",
    )
