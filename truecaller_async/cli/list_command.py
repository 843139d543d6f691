"""Options, filters and output of the commands that list something.

Without `--page` all pages are requested, and with `--json` each item is written as soon as it arrives. With `--page`
only that page is requested, and a note says how many pages there are.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import attrs
import click

from truecaller_async.cli.output import Column, print_json, print_table
from truecaller_async.cli.param_types import identifier

if TYPE_CHECKING:
    from truecaller_async.resources.pagination import Listing

Command = TypeVar("Command", bound=Callable[..., Any])


@attrs.frozen
class FilterOption:
    """An option that restricts a list to one part of the account, by an id that the console shows."""

    flag: str
    """Name of the option."""
    parameter: str
    """Name of the parameter of the command and of the resource."""
    thing: str
    """What the id belongs to, with its article."""


FEATURE_SET = FilterOption("--feature-set", "feature_set_id", "a feature set")
DEPARTMENT = FilterOption("--department", "department_id", "a department")
OPERATION = FilterOption("--operation", "operation_id", "an operation")
PROCESS = FilterOption("--process", "process_id", "a process or subprocess")
FILTERS = (FEATURE_SET, DEPARTMENT, OPERATION, PROCESS)


@attrs.frozen
class NumberFilter:
    """The filter of a list; the API accepts at most one."""

    arguments: dict[str, Any]
    """Argument for the resource; empty if there is no filter."""

    @classmethod
    def pop_from(cls, params: dict[str, Any]) -> NumberFilter:
        """Remove the filters from the parameters of a command, and return the one that was given.

        Raises:
            click.UsageError: More than one filter was given.
        """
        given = [(each, value) for each in FILTERS if (value := params.pop(each.parameter, None)) is not None]
        if len(given) > 1:
            flags = " and ".join(each.flag for each, _ in given)
            raise click.UsageError(f"{flags} cannot be used together: the API accepts one filter at a time")
        return cls({each.parameter: value for each, value in given})


def filter_options(*filters: FilterOption) -> Callable[[Command], Command]:
    """Add an option for each filter to a command."""

    def with_options(command: Command) -> Command:
        for each in reversed(filters):
            option = click.option(
                each.flag, each.parameter, type=identifier, metavar="ID", help=f"Only those of {each.thing}."
            )
            command = option(command)
        return command

    return with_options


@attrs.frozen
class ListColumns:
    """The table of a list."""

    thing: str
    """Name of one item."""
    columns: Sequence[Column]
    """Columns of the table."""
    row: Callable[[Any], Sequence[object]]
    """Returns the cells of an item."""


@attrs.frozen
class ListRequest:
    """Values of the list options."""

    page: int | None
    """Number of the page; None requests all pages."""
    page_size: int | None
    """Maximum number of items on a page; None is the default of the resource."""
    as_json: bool
    """Write one JSON object per line."""

    @classmethod
    def pop_from(cls, params: dict[str, Any]) -> ListRequest:
        """Remove the list options from the parameters of a command, and return them."""
        return cls(**{field.name: params.pop(field.name) for field in attrs.fields(cls)})

    @property
    def arguments(self) -> dict[str, Any]:
        """Return the arguments for the resource, without those that were not given."""
        given = {"page": self.page, "limit": self.page_size}
        return {name: value for name, value in given.items() if value is not None}


def list_options(command: Command) -> Command:
    """Add --page, --page-size and --json to a command."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line."),
        click.option("--page-size", type=click.IntRange(1), metavar="N", help="Maximum number of items on a page."),
        click.option("--page", type=click.IntRange(1), metavar="N", help="This page only.  [default: all pages]"),
    ):
        command = option(command)
    return command


async def print_list(listing: Listing[Any], request: ListRequest, table: ListColumns) -> None:
    """Request the items and print them to stdout; print a note to stderr if there are none.

    Args:
        listing: The pages of the resource.
        request: Which page, and the format.
        table: How to show an item.

    Raises:
        TruecallerError: A request failed.
    """
    rows: list[Sequence[object]] = []
    is_empty = True
    async for item in _items(listing, request):
        is_empty = False
        if request.as_json:
            print_json(item)
        else:
            rows.append(table.row(item))
    if rows:
        print_table(table.columns, rows)
    if is_empty:
        on_page = "" if request.page is None else f" on page {request.page}"
        click.echo(f"There are no {table.thing}s{on_page}.", err=True)


async def _items(listing: Listing[Any], request: ListRequest) -> AsyncIterator[Any]:
    if request.page is None:
        async for item in listing:
            yield item
        return
    page = await listing
    if page.total_pages is not None and page.total_pages > 1:
        click.echo(f"Page {request.page} of {page.total_pages}.", err=True)
    for item in page.items:
        yield item
