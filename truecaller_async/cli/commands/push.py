"""Command `truecaller push`: push one real-time record just before its call."""

from __future__ import annotations

import asyncio
from typing import Any

import click

from truecaller_async.cli.account_options import AccountOptions, account_options
from truecaller_async.cli.formatting import masked
from truecaller_async.cli.output import print_json
from truecaller_async.cli.param_types import parse_duration
from truecaller_async.clock import Clock
from truecaller_async.errors import PushRejected
from truecaller_async.models import CallRecord, PushAnswer


@click.command()
@click.option("--caller", required=True, help="The calling number, with country code.")
@click.option("--receiver", required=True, help="The called number, with country code.")
@click.option("--label-id", metavar="ID", help="A dynamic label of the account.")
@click.option("--label-name", metavar="TEXT", help="A name instead of the label's own, 3-40 characters.")
@click.option("--reason", metavar="TEXT", help="The reason of the call, 10-100 characters.")
@click.option(
    "--for",
    "window",
    type=parse_duration,
    metavar="DURATION",
    default="4h",
    show_default=True,
    help="How long the record is valid, from now on.",
)
@click.option("--deadline", type=parse_duration, metavar="DURATION", help="Fail if it is not pushed within this time.")
@account_options
@click.option("--json", "as_json", is_flag=True, help="Print the answer as one JSON object.")
def push(**params: Any) -> None:
    """Push one record just before its call.

    The record is valid from now on. Prints the answer of the service; with --json also if the record is rejected.
    """
    account = AccountOptions.pop_from(params)
    as_json, deadline, window = params.pop("as_json"), params.pop("deadline"), params.pop("window")
    now_ms = int(Clock().wall() * 1000)
    record = CallRecord(starts_at=now_ms, ends_at=now_ms + round(window * 1000), **params)
    try:
        answer = asyncio.run(_push(account, record, deadline))
    except PushRejected as error:
        if as_json:
            print_json({"rejected": {"status": error.status, "field": error.field, "message": error.message}})
        raise
    if as_json:
        print_json(answer)
    else:
        click.echo(_answer_text(answer))


async def _push(account: AccountOptions, record: CallRecord, deadline: float | None) -> PushAnswer:
    async with account.client() as client:
        return await client.calls.push(record, deadline=deadline)


def _answer_text(answer: PushAnswer) -> str:
    text = ": ".join(masked(part) for part in (answer.status, answer.message) if part)
    return f"Pushed ({text})." if text else "Pushed."
