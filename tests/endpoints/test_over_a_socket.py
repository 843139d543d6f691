"""Every endpoint in every version over a real socket, between the client and the sandbox."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from truecaller_async import (
    Batch,
    NumberJob,
    Outcome,
    Page,
    PushAnswer,
    TruecallerClient,
    TruecallerDeprecationWarning,
)
from truecaller_async.sandbox import SPEEDS, Sandbox, SandboxSettings

from .table import DEPRECATED, ENDPOINTS, Arguments, Endpoint, record_now

NUMBER = "911234567891"


@pytest_asyncio.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    settings = SandboxSettings(limits=SPEEDS["off"], resolve_after=0.0, list_after=0.0)
    async with await Sandbox.start(settings) as running:
        yield running


async def prepared(endpoint: Endpoint, client: TruecallerClient, sandbox: Sandbox, folder: Path) -> Arguments:
    """Prepare what the call needs: a batch for its status, a listed number."""
    record = record_now(datetime.now(UTC), sandbox.settings.labels[0].id)
    feature_set = sandbox.settings.feature_sets[0].id
    batch_id = ""
    if endpoint.call == "status":
        batch_id = (await client.batches.submit([record])).batch_id
    if endpoint.number in (13, 14):
        await client.numbers.publish(feature_set, [NUMBER])
        await client.numbers.wait_listed(feature_set, [NUMBER], timeout=10.0)
    return Arguments(record, feature_set, NUMBER, folder, batch_id)


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=str)
async def test_call_over_a_socket_returns_the_correct_answer(
    endpoint: Endpoint, sandbox: Sandbox, tmp_path: Path
) -> None:
    async with TruecallerClient.from_env(sandbox.environment()) as client:
        given = await prepared(endpoint, client, sandbox, tmp_path)
        before = sandbox.stats().requests.get(endpoint.call, {}).get("200", 0)
        deprecated = endpoint.number in DEPRECATED
        with pytest.warns(TruecallerDeprecationWarning) if deprecated else nullcontext():
            answer = await endpoint.use(client, given)

    requests = sandbox.stats().requests
    assert requests[endpoint.call]["200"] == before + 1
    assert {status for counts in requests.values() for status in counts} == {"200"}
    assert_answer(endpoint, answer, given, sandbox)


def assert_answer(endpoint: Endpoint, answer: Any, given: Arguments, sandbox: Sandbox) -> None:
    match endpoint.call:
        case "push":
            assert isinstance(answer, PushAnswer)
            assert [entry.call for entry in sandbox.state.truth()] == ["push"]
        case "submit":
            assert isinstance(answer, Batch)
            assert [entry.batch_id for entry in sandbox.state.truth()] == [answer.batch_id]
        case "status":
            assert [record.outcome for record in answer.records] == [Outcome.DELIVERED]
            assert answer.records[0].receiver.endswith(given.record.receiver)
        case "labels":
            assert [label.name for label in answer.items] == [label.name for label in sandbox.settings.labels]
        case "feature_sets":
            assert [found.id for found in answer.items] == [found.id for found in sandbox.settings.feature_sets]
            assert (answer.page, answer.total_pages) == (1, 1)
        case "exports":
            assert answer.read_text("utf-8").strip()
        case "mint":
            assert sandbox.stats().mints == 1
        case _:
            assert_number(endpoint, answer)


def assert_number(endpoint: Endpoint, answer: Any) -> None:
    match answer:
        case NumberJob():
            bucket = answer.new_numbers if endpoint.path.endswith("publish") else answer.existing_numbers
            assert (answer.status, bucket) == ("pending", (NUMBER,))
        case Page():
            assert [(found.phone_number, found.status) for found in answer.items] == [(NUMBER, "listed")]
        case _:
            pytest.fail(f"{answer!r} is neither a job nor a page")
