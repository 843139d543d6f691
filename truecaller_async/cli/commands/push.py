"""`truecaller push`: one real-time record, just before the call."""

from __future__ import annotations

import asyncio
from typing import Any

import click

from truecaller_async.cli.account_options import AccountOptions, connection_options
from truecaller_async.cli.formatting import masked
from truecaller_async.cli.output import print_json
from truecaller_async.cli.param_types import parse_duration
from truecaller_async.clock import Clock
from truecaller_async.errors import PushRejected
from truecaller_async.models import CallRecord, PushAnswer


@click.command()
@click.option("--caller", required=True, help="The number that calls, with country code.")
@click.option("--receiver", required=True, help="The number that is called, with country code.")
@click.option("--label-id", metavar="ID", help="A dynamic label of the account.")
@click.option("--label-name", metavar="TEXT", help="A name in place of the label's own, 3-40 characters.")
@click.option("--reason", metavar="TEXT", help="The reason of the call, 10-100 characters.")
@click.option(
    "--for",
    "window",
    type=parse_duration,
    metavar="DURATION",
    default="4h",
    show_default=True,
    help="How long it is shown.",
)
@click.option("--deadline", type=parse_duration, metavar="DURATION", help="Give up when it is not pushed by then.")
@connection_options
@click.option("--json", "as_json", is_flag=True, help="The answer as one JSON object.")
def push(**given: Any) -> None:
    """Push one record, just before its call.

    It is valid from now on. Prints the answer of the service; with --json also where that is a no.
    """
    connection = AccountOptions.out_of(given)
    as_json, deadline, window = given.pop("as_json"), given.pop("deadline"), given.pop("window")
    now = int(Clock().wall() * 1000)
    record = CallRecord(starts_at=now, ends_at=now + round(window * 1000), **given)
    try:
        answer = asyncio.run(_push(connection, record, deadline))
    except PushRejected as error:
        if as_json:
            print_json({"refused": {"status": error.status, "field": error.field, "message": error.message}})
        raise
    if as_json:
        print_json(answer)
    else:
        click.echo(_said(answer))


async def _push(connection: AccountOptions, record: CallRecord, deadline: float | None) -> PushAnswer:
    async with connection.client() as client:
        return await client.calls.push(record, deadline=deadline)


def _said(answer: PushAnswer) -> str:
    said = ": ".join(masked(part) for part in (answer.status, answer.message) if part)
    return f"Pushed ({said})." if said else "Pushed."
