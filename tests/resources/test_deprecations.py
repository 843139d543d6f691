"""Deprecated calls warn once, at the caller's line; other calls do not warn."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.resources.script import PUSHED, TAKEN, Script, Step, answer, client_of, playing, record, status_of
from tests.virtual import run_virtual
from truecaller_async import RetryPolicy, TruecallerClient
from truecaller_async.errors import TruecallerDeprecationWarning
from truecaller_async.models import RecordColumns

FINAL = status_of("success")


async def push(client: TruecallerClient) -> None:
    await client.calls.push(record())


async def submit(client: TruecallerClient) -> None:
    await client.batches.submit([record()])


async def status(client: TruecallerClient) -> None:
    await client.batches.status("b-1")


async def wait(client: TruecallerClient) -> None:
    await client.batches.wait("b-1", timeout=60)


async def push_many(client: TruecallerClient) -> None:
    client.push_many([])


Use = Callable[[TruecallerClient], Awaitable[None]]
USES: dict[str, tuple[Use, Step]] = {
    "calls.push": (push, PUSHED),
    "batches.submit": (submit, TAKEN),
    "batches.status": (status, FINAL),
    "batches.wait": (wait, FINAL),
    "push_many": (push_many, PUSHED),
}


def warnings_of(use: Use, client: TruecallerClient) -> list[warnings.WarningMessage]:
    """Return all warnings of one use, with any warnings filter."""

    async def scene() -> list[warnings.WarningMessage]:
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            await use(client)
        return list(seen)

    return run_virtual(scene)


def client_answering(step: Step, version: str = "v1") -> TruecallerClient:
    return client_of(playing(step), api_version=version)


@pytest.mark.parametrize("name", USES)
def test_version_1_warns_at_the_line_of_the_caller_and_names_version_2(name: str) -> None:
    use, step = USES[name]
    (seen,) = warnings_of(use, client_answering(step))
    assert seen.category is TruecallerDeprecationWarning
    assert str(seen.message).startswith(f"{name}: version 1")
    assert 'client.with_options(api_version="v2")' in str(seen.message)
    assert (seen.filename, seen.lineno) == (__file__, use.__code__.co_firstlineno + 1)


@pytest.mark.parametrize("name", USES)
@pytest.mark.parametrize("version", ["v2", "v3"])
def test_current_versions_do_not_warn(name: str, version: str) -> None:
    use, step = USES[name]
    assert warnings_of(use, client_answering(step, version)) == []


def test_each_call_of_a_client_warns_once_and_copies_are_the_same_client() -> None:
    async def scene() -> None:
        client = client_of(playing(PUSHED))
        first_copy, second_copy = (client.with_options(api_version="v1") for _ in range(2))
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            await client.calls.push(record())
            await first_copy.calls.push(record())
            await first_copy.calls.push(record())
            await second_copy.with_options(retry=RetryPolicy(attempts=1)).calls.push(record())
            client._shared.transport.steps[0] = TAKEN  # type: ignore[attr-defined]
            await second_copy.batches.submit([record()])
        assert [str(warning.message).partition(":")[0] for warning in seen] == ["calls.push", "batches.submit"]

    run_virtual(scene)


def test_another_client_warns_for_itself() -> None:
    use, step = USES["batches.submit"]
    assert len(warnings_of(use, client_answering(step))) == len(warnings_of(use, client_answering(step))) == 1


def test_call_in_its_own_task_warns_too() -> None:
    async def scene() -> None:
        client = client_answering(PUSHED)
        with pytest.warns(TruecallerDeprecationWarning, match=r"calls\.push"):
            await asyncio.create_task(client.calls.push(record()))

    run_virtual(scene)


def test_warning_turned_into_an_error_is_raised_each_time_before_sending() -> None:
    async def scene() -> None:
        script = playing(PUSHED)
        client = client_of(script, api_version="v1")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for _ in range(2):
                with pytest.raises(TruecallerDeprecationWarning):
                    await client.calls.push(record())
        assert (script.sent, script.minted) == ([], [])

    run_virtual(scene)


def test_single_attempts_of_the_engine_do_not_warn() -> None:
    async def scene() -> None:
        script = playing(PUSHED, TAKEN, FINAL)
        client = client_of(script, api_version="v1")
        permit = await client._shared.pool.acquire_for_call("push")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            await client.calls.attempt_push(record(caller="910000000001"), permit)
            await client.batches.attempt_submit(RecordColumns.of([record(caller="910000000001")]), permit)
            await client.batches.attempt_status("b-1", permit)
        assert len(script.sent) == 3

    run_virtual(scene)


async def test_export_warns_at_the_line_of_the_caller(tmp_path: Path) -> None:
    script: Script = playing(answer(200, {"url": "https://files.truecaller.com/1"}), latency=0.0)
    exports = client_of(script).exports
    given: dict[str, Any] = {"from_date": datetime(2025, 1, 1, tzinfo=UTC), "overwrite": True}
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        await exports.user_feedback("s", tmp_path / "1", **given)
        await exports.user_feedback("s", tmp_path / "1", **given)
    assert [warning.filename for warning in seen] == [__file__]
