"""Command `truecaller labels list`: list the dynamic labels of the account."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import click

from truecaller_async.cli.account_options import AccountOptions, account_options
from truecaller_async.cli.list_command import ListColumns, ListRequest, list_options, print_list
from truecaller_async.cli.output import Column

if TYPE_CHECKING:
    from collections.abc import Sequence

    from truecaller_async.models import Label

COLUMNS = (Column("label id"), Column("name"), Column("type", optional=True), Column("created", optional=True))


@click.group()
def labels() -> None:
    """Show the dynamic labels that calls may show."""


@labels.command(name="list")
@list_options
@account_options
def list_labels(**params: Any) -> None:
    """List the dynamic labels of the account.

    Labels are created in the console. A record refers to a label by its id.
    """
    account, request = AccountOptions.pop_from(params), ListRequest.pop_from(params)
    asyncio.run(_list(account, request))


async def _list(account: AccountOptions, request: ListRequest) -> None:
    async with account.client() as client:
        await print_list(client.labels.list(**request.arguments), request, ListColumns("label", COLUMNS, _row))


def _row(label: Label) -> Sequence[object]:
    return label.id, label.name, label.label_type, label.created_at and f"{label.created_at:%Y-%m-%d}"
