"""`truecaller batch status`, with a sandbox."""

from __future__ import annotations

import json
import time

import attrs
import pytest

from truecaller_async import Batch, BatchStatus, CallRecord, RecordStatus, TruecallerClient
from truecaller_async.cli.commands.batch import counts, exit_for_status, last_digits
from truecaller_async.sandbox import Sandbox

from .shell import CALLER, REASON, Shell, receiver

WAIT = ("--wait", "--timeout", "2s")


async def submitted(sandbox: Sandbox, *endings: int) -> Batch:
    now = int(time.time() * 1000)
    records = [
        CallRecord(CALLER, receiver(row, ending), now, now + 3_600_000, reason=REASON)
        for row, ending in enumerate(endings)
    ]
    async with TruecallerClient.from_env(sandbox.environment()) as client:
        return await client.batches.submit(records)


def status_of(*statuses: str | None) -> BatchStatus:
    return BatchStatus("a-batch", None, tuple(RecordStatus(status=status) for status in statuses))


async def test_delivered_batch_exits_0_with_masked_table(shell: Shell, sandbox: Sandbox) -> None:
    batch = await submitted(sandbox, 0, 1)
    result = await shell.call("batch", "status", batch.batch_id, *WAIT)
    assert result.code == 0
    header, first, second, _, closing = result.stdout.splitlines()
    assert header.split() == ["row", "status", "caller", "receiver", "record", "id"]
    assert first.split()[:4] == ["1", "success", "*1234", "*0000"]
    assert second.split()[:4] == ["2", "success", "*1234", "*0101"]
    assert closing == "2 records: 2 success."
    assert CALLER not in result.stdout + result.stderr


async def test_failed_record_exits_5_with_the_reason(shell: Shell, sandbox: Sandbox) -> None:
    batch = await submitted(sandbox, 0, 13)
    result = await shell.call("batch", "status", batch.batch_id, *WAIT)
    assert result.code == 5
    assert "Not a Truecaller user" in result.stdout
    assert result.stdout.splitlines()[-1] == "2 records: 1 success, 1 failed."


async def test_json_output_has_full_numbers_and_library_outcomes(shell: Shell, sandbox: Sandbox) -> None:
    batch = await submitted(sandbox, 0, 13)
    result = await shell.call("batch", "status", batch.batch_id, *WAIT, "--json")
    found = json.loads(result.stdout)
    assert (result.code, found["batch_id"], found["counts"]) == (5, batch.batch_id, {"success": 1, "failed": 1})
    assert [(record["row"], record["receiver"], record["outcome"]) for record in found["records"]] == [
        (1, receiver(0, 0), "delivered"),
        (2, receiver(1, 13), "failed"),
    ]


async def test_unfinished_batch_exits_5_with_advice(shell: Shell, sandbox: Sandbox) -> None:
    slow = attrs.evolve(sandbox.settings, resolve_after=3600.0)
    async with await Sandbox.start(slow) as server:
        batch = await submitted(server, 0, 1)
        base = {"TRUECALLER_BASE_URL": server.base_url}
        result = await shell.call("batch", "status", batch.batch_id, **base)
        waited = await shell.call("batch", "status", batch.batch_id, "--wait", "--timeout", "0.2s", **base)
    assert result.code == waited.code == 5
    assert "2 records not final yet" in result.stdout
    assert "Not final after 0.2 s" in waited.stderr
    assert "2 pending" in waited.stdout


async def test_unknown_batch_reports_what_to_check(shell: Shell) -> None:
    result = await shell.call("batch", "status", "00000000-0000-4000-8000-000000000000")
    assert (result.code, result.stdout) == (5, "")
    assert "Check the id" in result.stderr


@pytest.mark.parametrize("batch_id", ["", "../../token", "a\x1b[2Jb", "x" * 500])
async def test_invalid_batch_id_is_refused_before_sending(batch_id: str, shell: Shell, sandbox: Sandbox) -> None:
    result = await shell.call("batch", "status", batch_id)
    assert result.code == 4
    assert "nothing was sent" in result.stderr
    assert result.stderr.replace("\n", "").isprintable()
    assert sandbox.stats().requests == {}


@pytest.mark.parametrize(
    ("statuses", "code"),
    [
        (("success",), 0),
        (("success", "failed"), 5),
        (("success", "pending"), 5),
        (("SUCCESS",), 5),
        ((None,), 5),
        ((), 5),
    ],
)
def test_only_the_documented_status_counts_as_delivered(statuses: tuple[str | None, ...], code: int) -> None:
    assert exit_for_status(status_of(*statuses)) == code


def test_statuses_are_counted_as_the_server_wrote_them() -> None:
    assert counts(status_of("queued", None, "queued")) == {"queued": 2, "no status": 1}


@pytest.mark.parametrize(("number", "shown"), [("919812345678", "*5678"), ("91****5678", "*5678"), (None, None)])
def test_number_is_shown_by_its_last_digits(number: str | None, shown: str | None) -> None:
    assert last_digits(number) == shown
