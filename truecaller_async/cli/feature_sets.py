"""`truecaller feature-sets list`: what is shown and offered when one of their numbers calls."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import click

from truecaller_async.cli.connection import Connection, connection_options
from truecaller_async.cli.filters import DEPARTMENT, OPERATION, PROCESS, Filter, filter_options
from truecaller_async.cli.listing import Look, Wanted, listing_options, show
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
    connection, wanted, only = Connection.out_of(given), Wanted.out_of(given), Filter.out_of(given)
    asyncio.run(_list(connection, wanted, only))


async def _list(connection: Connection, wanted: Wanted, only: Filter) -> None:
    async with connection.client() as client:
        listing = client.feature_sets.list(**only.argument, **wanted.paging)
        await show(listing, wanted, Look("feature set", COLUMNS, _row))


def _row(found: FeatureSet) -> Sequence[object]:
    operation = found.calling_operation_name
    process = " / ".join(filter(None, (found.process_name, found.sub_process_name)))
    return found.id, found.name, found.status, found.department_name, operation, process, found.label_id
