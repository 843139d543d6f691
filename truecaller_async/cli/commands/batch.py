"""`truecaller batch status`: what became of each record of one batch.

A person sees numbers by their last digits only, because terminals are photographed; a program (`--json`) gets them as
the service shows them. Only the documented words are final, so "not final yet" is told apart from "failed".
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any

import click

from truecaller_async.cli.account_options import AccountOptions, connection_options
from truecaller_async.cli.exit_codes import ExitCode
from truecaller_async.cli.formatting import counted, masked, number
from truecaller_async.cli.formatting import duration as in_words
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
    Column("field", spare=True),
    Column("message", spare=True),
    Column("record id", spare=True),
)
TIMEOUT = 900.0
DIGITS_SHOWN = 4


@click.group()
def batch() -> None:
    """Batches that were sent before."""


@batch.command()
@click.argument("batch_id")
@click.option("--wait", is_flag=True, help="Ask again until every record is final.")
@click.option("--timeout", type=parse_duration, metavar="DURATION", help="How long --wait waits.  [default: 15m]")
@connection_options
@click.option("--json", "as_json", is_flag=True, help="The status as one JSON object, with whole numbers.")
def status(batch_id: str, wait: bool, timeout: float | None, as_json: bool, **given: Any) -> None:
    """Show what became of the records of one batch.

    Ends with 0 where all are delivered, and with 5 where one is not, or not yet.
    """
    connection = AccountOptions.out_of(given)
    if timeout is not None and not wait:
        raise click.UsageError("--timeout is how long --wait waits; give --wait too")
    found = asyncio.run(_status(connection, batch_id, (timeout or TIMEOUT) if wait else None))
    _tell(found, as_json)
    click.get_current_context().exit(exit_for_status(found))


async def _status(connection: AccountOptions, batch_id: str, timeout: float | None) -> BatchStatus:
    async with connection.client() as client:
        if timeout is None:
            return await client.batches.status(batch_id)
        return await _waited(client, batch_id, timeout)


async def _waited(client: TruecallerClient, batch_id: str, timeout: float) -> BatchStatus:
    """The final status, or the last one there is."""
    click.echo(f"Waiting until every record is final, {in_words(timeout)} at most.", err=True)
    try:
        return await client.batches.wait(batch_id, timeout=timeout)
    except DeadlineExceeded:
        click.echo(f"Not final after {in_words(timeout)}; it may still resolve. This is how it stands:", err=True)
        return await client.batches.status(batch_id)


def exit_for_status(found: BatchStatus) -> int:
    """Done where every record is delivered."""
    outcomes = [record.outcome for record in found.records]
    return ExitCode.DONE if outcomes and set(outcomes) == {Outcome.DELIVERED} else ExitCode.PARTIAL


def counts(found: BatchStatus) -> dict[str, int]:
    """How many records have each status word, the most frequent first."""
    return dict(Counter(record.status or "no status" for record in found.records).most_common())


def _tell(found: BatchStatus, as_json: bool) -> None:
    if as_json:
        print_json({"batch_id": found.batch_id, "counts": counts(found), "records": _records(found)})
        return
    if found.records:
        print_table(COLUMNS, [_row(place, record) for place, record in enumerate(found.records, start=1)])
        click.echo()
    click.echo(_closing(found))


def _records(found: BatchStatus) -> list[dict[str, Any]]:
    return [{"row": place, **plain(record), "outcome": record.outcome} for place, record in enumerate(found.records, 1)]


def _row(place: int, record: RecordStatus) -> Sequence[object]:
    message = masked(record.message) if record.message else None
    return place, record.status, ending(record.caller), ending(record.receiver), record.field, message, record.id


def ending(phone_number: str | None) -> str | None:
    """The last digits of a number, after an asterisk for the rest."""
    return None if phone_number is None else f"*{phone_number[-DIGITS_SHOWN:]}"


def _closing(found: BatchStatus) -> str:
    if not found.records:
        return "The service shows no record of this batch."
    words = ", ".join(f"{number(count)} {masked(word)}" for word, count in counts(found).items())
    waiting = sum(record.outcome is None for record in found.records)
    rest = f" {counted(waiting, 'record')} not final yet: look again, or use --wait." if waiting else ""
    return f"{counted(len(found.records), 'record')}: {words}.{rest}"
