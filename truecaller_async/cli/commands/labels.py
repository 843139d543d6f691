"""`truecaller labels list`: the dynamic labels of the account, whose ids records name."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import click

from truecaller_async.cli.account_options import AccountOptions, connection_options
from truecaller_async.cli.list_command import ListColumns, ListRequest, listing_options, print_list
from truecaller_async.cli.output import Column

if TYPE_CHECKING:
    from collections.abc import Sequence

    from truecaller_async.models import Label

COLUMNS = (Column("label id"), Column("name"), Column("type", spare=True), Column("created", spare=True))


@click.group()
def labels() -> None:
    """Dynamic labels, which calls may show."""


@labels.command(name="list")
@listing_options
@connection_options
def list_labels(**given: Any) -> None:
    """List the labels of the account.

    Labels are made in the console only. A record names one by its id.
    """
    connection, wanted = AccountOptions.out_of(given), ListRequest.out_of(given)
    asyncio.run(_list(connection, wanted))


async def _list(connection: AccountOptions, wanted: ListRequest) -> None:
    async with connection.client() as client:
        await print_list(client.labels.list(**wanted.paging), wanted, ListColumns("label", COLUMNS, _row))


def _row(label: Label) -> Sequence[object]:
    return label.id, label.name, label.label_type, label.created_at and f"{label.created_at:%Y-%m-%d}"
