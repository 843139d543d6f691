"""Command `truecaller token status`: show the stored tokens and the mint limit.

The command only reads: it mints no token, takes over no token, and sends no request.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from truecaller_async.cli.account_options import AccountOptions, account_options
from truecaller_async.cli.formatting import duration, number
from truecaller_async.cli.output import Column, plain, print_json, print_table
from truecaller_async.clock import Clock

if TYPE_CHECKING:
    from truecaller_async.models.tokens import TokenStatus

COLUMNS = (Column("token"), Column("age", justify="right"), Column("expires in", justify="right"), Column("in use by"))
USERS = {"this": "this process", "other": "another process"}
"""Text for values of `TokenInfo.used_by`; any other value is a token that no process uses."""
UNUSED = "no process"


@click.group()
def token() -> None:
    """Show the access tokens and the mint limit."""


@token.command()
@account_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def status(as_json: bool, **params: Any) -> None:
    """Show the live tokens and the mint limit.

    Mints no token and sends nothing. The id of a token is a hash of it, and gives no access.
    """
    account = AccountOptions.pop_from(params)
    found = asyncio.run(_status(account))
    now = datetime.fromtimestamp(Clock().wall(), UTC)
    if as_json:
        at = next_mint_at(found, now)
        print_json({**plain(found), "next_mint_at": at.isoformat(timespec="seconds")})
        return
    if found.tokens:
        print_table(
            COLUMNS,
            [
                (each.token_id, duration(each.age), duration(each.expires_in), USERS.get(each.used_by, UNUSED))
                for each in found.tokens
            ],
        )
        click.echo()
    else:
        click.echo("There is no live token; the next request mints one.")
    click.echo(mint_limit_text(found, now))


async def _status(account: AccountOptions) -> TokenStatus:
    async with account.client() as client:
        return await client.tokens.status()


def next_mint_at(found: TokenStatus, now: datetime) -> datetime:
    """Return the time from which on a token may be minted."""
    return now + timedelta(seconds=found.next_mint_in)


def mint_limit_text(found: TokenStatus, now: datetime) -> str:
    """Return how many tokens were minted, and when the next one may be minted."""
    if found.next_mint_in > 0:
        at = next_mint_at(found, now).astimezone()
        when = f"the next one may be minted at {at:%H:%M:%S}, in {duration(found.next_mint_in)}"
    else:
        when = "the next one may be minted now"
    if found.mint_limit is None or found.mint_window is None:
        return f"Minting is not limited; {when}."
    window = duration(found.mint_window)
    return f"{number(found.mints)} of {number(found.mint_limit)} tokens minted in the last {window}; {when}."
