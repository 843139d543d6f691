"""Command `truecaller feature-sets list`: list the feature sets of the account."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import click

from truecaller_async.cli.account_options import AccountOptions, account_options
from truecaller_async.cli.list_command import (
    DEPARTMENT,
    OPERATION,
    PROCESS,
    ListColumns,
    ListRequest,
    NumberFilter,
    filter_options,
    list_options,
    print_list,
)
from truecaller_async.cli.output import Column

if TYPE_CHECKING:
    from collections.abc import Sequence

    from truecaller_async.models import FeatureSet

COLUMNS = (
    Column("feature set id"),
    Column("name"),
    Column("status"),
    Column("department", optional=True),
    Column("operation", optional=True),
    Column("process", optional=True),
    Column("label id", optional=True),
)


@click.group(name="feature-sets")
def feature_sets() -> None:
    """Show the feature sets under which numbers are listed."""


@feature_sets.command(name="list")
@filter_options(DEPARTMENT, OPERATION, PROCESS)
@list_options
@account_options
def list_feature_sets(**params: Any) -> None:
    """List the feature sets of the account.

    At most one filter may be given. `numbers publish` needs the id of a feature set.
    """
    account, request = AccountOptions.pop_from(params), ListRequest.pop_from(params)
    asyncio.run(_list(account, request, NumberFilter.pop_from(params)))


async def _list(account: AccountOptions, request: ListRequest, number_filter: NumberFilter) -> None:
    async with account.client() as client:
        listing = client.feature_sets.list(**number_filter.arguments, **request.arguments)
        await print_list(listing, request, ListColumns("feature set", COLUMNS, _row))


def _row(found: FeatureSet) -> Sequence[object]:
    operation = found.calling_operation_name
    process = " / ".join(filter(None, (found.process_name, found.sub_process_name)))
    return found.id, found.name, found.status, found.department_name, operation, process, found.label_id
