"""`truecaller feature-sets list`: what is shown and offered when one of their numbers calls."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import click

from truecaller_async.cli.account_options import AccountOptions, connection_options
from truecaller_async.cli.list_command import ListColumns, ListRequest, listing_options, print_list
from truecaller_async.cli.number_filters import DEPARTMENT, OPERATION, PROCESS, NumberFilter, filter_options
from truecaller_async.cli.output import Column

if TYPE_CHECKING:
    from collections.abc import Sequence

    from truecaller_async.models import FeatureSet

COLUMNS = (
    Column("feature set id"),
    Column("name"),
    Column("status"),
    Column("department", spare=True),
    Column("operation", spare=True),
    Column("process", spare=True),
    Column("label id", spare=True),
)


@click.group(name="feature-sets")
def feature_sets() -> None:
    """Feature sets, which numbers are listed under."""


@feature_sets.command(name="list")
@filter_options(DEPARTMENT, OPERATION, PROCESS)
@listing_options
@connection_options
def list_feature_sets(**given: Any) -> None:
    """List the feature sets of the account.

    At most one of the filters may be given. The id of a set is what `numbers publish` wants.
    """
    connection, wanted, only = AccountOptions.out_of(given), ListRequest.out_of(given), NumberFilter.out_of(given)
    asyncio.run(_list(connection, wanted, only))


async def _list(connection: AccountOptions, wanted: ListRequest, only: NumberFilter) -> None:
    async with connection.client() as client:
        listing = client.feature_sets.list(**only.argument, **wanted.paging)
        await print_list(listing, wanted, ListColumns("feature set", COLUMNS, _row))


def _row(found: FeatureSet) -> Sequence[object]:
    operation = found.calling_operation_name
    process = " / ".join(filter(None, (found.process_name, found.sub_process_name)))
    return found.id, found.name, found.status, found.department_name, operation, process, found.label_id
