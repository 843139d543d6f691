"""`truecaller token status`: the tokens of the account in the state file, and what is left of the budget of new ones.

It looks, and nothing more: no token is made, none is taken over, no request is sent.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from truecaller_async.cli.account_options import AccountOptions, connection_options
from truecaller_async.cli.formatting import duration, number
from truecaller_async.cli.output import Column, plain, print_json, print_table
from truecaller_async.clock import Clock

if TYPE_CHECKING:
    from truecaller_async.models.tokens import TokenStatus

COLUMNS = (Column("token"), Column("age", justify="right"), Column("expires in", justify="right"), Column("in use by"))
USERS = {"this": "this process", "other": "another process", "none": "no process"}


@click.group()
def token() -> None:
    """Access tokens, of which ten may be made in half an hour."""


@token.command()
@connection_options
@click.option("--json", "as_json", is_flag=True, help="The same as one JSON object.")
def status(as_json: bool, **given: Any) -> None:
    """Show the live tokens and the budget of new ones.

    Makes no token and sends nothing. A token's id is a hash of it, and opens nothing.
    """
    connection = AccountOptions.out_of(given)
    found = asyncio.run(_status(connection))
    now = datetime.fromtimestamp(Clock().wall(), UTC)
    if as_json:
        at = next_mint_at(found, now)
        print_json({**plain(found), "next_mint_at": at.isoformat(timespec="seconds")})
        return
    if found.tokens:
        print_table(
            COLUMNS,
            [
                (each.token_id, duration(each.age), duration(each.expires_in), USERS[each.used_by])
                for each in found.tokens
            ],
        )
        click.echo()
    else:
        click.echo("There is no live token; the next request makes one.")
    click.echo(budget(found, now))


async def _status(connection: AccountOptions) -> TokenStatus:
    async with connection.client() as client:
        return await client.tokens.status()


def next_mint_at(found: TokenStatus, now: datetime) -> datetime:
    """The instant at which a token may be made."""
    return now + timedelta(seconds=found.next_mint_in)


def budget(found: TokenStatus, now: datetime) -> str:
    """What was spent, and when the next may be made."""
    if found.next_mint_in > 0:
        at = next_mint_at(found, now).astimezone()
        when = f"the next may be made at {at:%H:%M:%S}, in {duration(found.next_mint_in)}"
    else:
        when = "the next may be made now"
    if found.mint_limit is None or found.mint_window is None:
        return f"Making tokens is not limited; {when}."
    spent = f"{number(found.mints)} of {number(found.mint_limit)} tokens made in the last {duration(found.mint_window)}"
    return f"{spent}; {when}."
