"""Command `truecaller batch status`: show the status of each record of a batch.

The table shows the last digits of numbers only, because terminals are photographed; `--json` prints them as the service
returns them. Only the documented statuses are final, so a record is either final or waiting.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any

import click

from truecaller_async.cli.account_options import AccountOptions, account_options
from truecaller_async.cli.exit_codes import ExitCode
from truecaller_async.cli.formatting import counted, duration, masked, number
from truecaller_async.cli.output import Column, plain, print_json, print_table
from truecaller_async.cli.param_types import parse_duration
from truecaller_async.errors import DeadlineExceeded
from truecaller_async.models import Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from truecaller_async.client import TruecallerClient
    from truecaller_async.models import BatchStatus, RecordStatus

COLUMNS = (
    Column("row", justify="right"),
    Column("status"),
    Column("caller"),
    Column("receiver"),
    Column("field", optional=True),
    Column("message", optional=True),
    Column("record id", optional=True),
)
TIMEOUT_SECONDS = 900.0
SHOWN_DIGITS = 4


@click.group()
def batch() -> None:
    """Show batches that were sent before."""


@batch.command()
@click.argument("batch_id")
@click.option("--wait", is_flag=True, help="Poll until every record is final.")
@click.option("--timeout", type=parse_duration, metavar="DURATION", help="Longest time for --wait.  [default: 15m]")
@account_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, with complete numbers.")
def status(batch_id: str, wait: bool, timeout: float | None, as_json: bool, **params: Any) -> None:
    """Show the status of each record of a batch.

    Exits with 0 if all records are delivered, and with 5 if one is not, or not yet.
    """
    account = AccountOptions.pop_from(params)
    if timeout is not None and not wait:
        raise click.UsageError("--timeout is the longest time for --wait; add --wait")
    found = asyncio.run(_status(account, batch_id, (timeout or TIMEOUT_SECONDS) if wait else None))
    _print_status(found, as_json)
    click.get_current_context().exit(exit_for_status(found))


async def _status(account: AccountOptions, batch_id: str, timeout: float | None) -> BatchStatus:
    async with account.client() as client:
        if timeout is None:
            return await client.batches.status(batch_id)
        return await _final_status(client, batch_id, timeout)


async def _final_status(client: TruecallerClient, batch_id: str, timeout: float) -> BatchStatus:
    """Return the final status, or the present one if it is not final in time."""
    click.echo(f"Waiting until every record is final, for at most {duration(timeout)}.", err=True)
    try:
        return await client.batches.wait(batch_id, timeout=timeout)
    except DeadlineExceeded:
        click.echo(f"Not final after {duration(timeout)}; it may still become final. The present status:", err=True)
        return await client.batches.status(batch_id)


def exit_for_status(found: BatchStatus) -> int:
    """Return 0 if every record is delivered, otherwise 5."""
    outcomes = [record.outcome for record in found.records]
    return ExitCode.DONE if outcomes and set(outcomes) == {Outcome.DELIVERED} else ExitCode.PARTIAL


def counts(found: BatchStatus) -> dict[str, int]:
    """Return the number of records of each server status, the most frequent first."""
    return dict(Counter(record.status or "no status" for record in found.records).most_common())


def _print_status(found: BatchStatus, as_json: bool) -> None:
    if as_json:
        print_json({"batch_id": found.batch_id, "counts": counts(found), "records": _json_records(found)})
        return
    if found.records:
        print_table(COLUMNS, [_row(row, record) for row, record in enumerate(found.records, start=1)])
        click.echo()
    click.echo(_closing_sentence(found))


def _json_records(found: BatchStatus) -> list[dict[str, Any]]:
    return [{"row": row, **plain(record), "outcome": record.outcome} for row, record in enumerate(found.records, 1)]


def _row(row: int, record: RecordStatus) -> Sequence[object]:
    message = masked(record.message) if record.message else None
    caller, receiver = last_digits(record.caller), last_digits(record.receiver)
    return row, record.status, caller, receiver, record.field, message, record.id


def last_digits(phone_number: str | None) -> str | None:
    """Return the last four digits of a number after an asterisk; None if there is no number."""
    return None if phone_number is None else f"*{phone_number[-SHOWN_DIGITS:]}"


def _closing_sentence(found: BatchStatus) -> str:
    if not found.records:
        return "The service returned no record of this batch."
    statuses = ", ".join(f"{number(count)} {masked(status)}" for status, count in counts(found).items())
    waiting = sum(record.outcome is None for record in found.records)
    rest = f" {counted(waiting, 'record')} not final yet: repeat the command, or use --wait." if waiting else ""
    return f"{counted(len(found.records), 'record')}: {statuses}.{rest}"
