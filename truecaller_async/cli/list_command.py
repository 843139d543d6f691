"""What the commands that list something have in common: pages, output, and the word on an empty list.

Without --page every page is asked for, and with --json each item is written as it comes. With --page it is that page
alone, and a note says how many there are.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import attrs
import click

from truecaller_async.cli.output import Column, print_json, print_table

if TYPE_CHECKING:
    from truecaller_async.resources.pagination import Listing

Command = TypeVar("Command", bound=Callable[..., Any])


@attrs.frozen
class ListColumns:
    """How a list is shown: `thing` is one item in words, `row` makes the cells of one."""

    thing: str
    columns: Sequence[Column]
    row: Callable[[Any], Sequence[object]]


@attrs.frozen
class ListRequest:
    """The options that every list has. No page means all of them; no size means the usual one."""

    page: int | None
    page_size: int | None
    as_json: bool

    @classmethod
    def out_of(cls, given: dict[str, Any]) -> ListRequest:
        """Takes its own values out of the parameters of a command."""
        return cls(**{field.name: given.pop(field.name) for field in attrs.fields(cls)})

    @property
    def paging(self) -> dict[str, Any]:
        """The arguments of a resource; what was not given is left to it."""
        given = {"page": self.page, "limit": self.page_size}
        return {name: value for name, value in given.items() if value is not None}


def listing_options(command: Command) -> Command:
    """--page, --page-size and --json."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="One JSON object a line."),
        click.option("--page-size", type=click.IntRange(1), metavar="N", help="Items on one page, at most."),
        click.option("--page", type=click.IntRange(1), metavar="N", help="This page only.  [default: all]"),
    ):
        command = option(command)
    return command


async def print_list(listing: Listing[Any], wanted: ListRequest, look: ListColumns) -> None:
    """Ask, and write to stdout what comes."""
    rows: list[Sequence[object]] = []
    found = False
    async for item in _items(listing, wanted):
        found = True
        if wanted.as_json:
            print_json(item)
        else:
            rows.append(look.row(item))
    if rows:
        print_table(look.columns, rows)
    if not found:
        where = "" if wanted.page is None else f" on page {wanted.page}"
        click.echo(f"There are no {look.thing}s{where}.", err=True)


async def _items(listing: Listing[Any], wanted: ListRequest) -> AsyncIterator[Any]:
    if wanted.page is None:
        async for item in listing:
            yield item
        return
    page = await listing
    if page.total_pages is not None and page.total_pages > 1:
        click.echo(f"Page {wanted.page} of {page.total_pages}.", err=True)
    for item in page.items:
        yield item
