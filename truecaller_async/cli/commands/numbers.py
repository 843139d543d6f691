"""`truecaller numbers`: which numbers of the business are listed, and listing and delisting them.

Listing is a job: the service takes the numbers, sorts them into buckets, and does the work afterwards. What a bucket
means is read from its name, because no page explains it. The numbers are the business's own, and are shown whole.
"""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, Any

import attrs
import click

from truecaller_async.cli.account_options import AccountOptions, connection_options
from truecaller_async.cli.exit_codes import ExitCode
from truecaller_async.cli.formatting import counted, masked, number
from truecaller_async.cli.formatting import duration as in_words
from truecaller_async.cli.list_command import ListColumns, ListRequest, listing_options, print_list
from truecaller_async.cli.number_file import read_numbers
from truecaller_async.cli.number_filters import ALL, NumberFilter, filter_options
from truecaller_async.cli.output import Column, print_json, print_table
from truecaller_async.cli.param_types import identifier, parse_duration
from truecaller_async.errors import NumberJobIncomplete

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from truecaller_async.models import Number, NumberJob

COLUMNS = (
    Column("number", justify="right"),
    Column("status"),
    Column("label"),
    Column("feature set", spare=True),
    Column("call me back", spare=True),
    Column("department", spare=True),
    Column("operation", spare=True),
    Column("process", spare=True),
)
BUCKETS = (
    Column("bucket"),
    Column("numbers", justify="right"),
    Column("which"),
)
SHOWN_MAX = 3
REFUSED = ("invalid_numbers", "others_numbers", "other_feature_set_numbers", "other_phonetype_numbers")
"""The buckets whose names say no to a listing."""
NOT_DELISTED = ("new_numbers", *REFUSED)
"""To a delisting also the numbers that were never listed, as the printed sample has it."""
FAILED = "failed"
BUCKET = "_numbers"


@click.group()
def numbers() -> None:
    """The business's own numbers: see, list and delist them."""


@numbers.command(name="list")
@filter_options(*ALL)
@listing_options
@connection_options
def list_numbers(**given: Any) -> None:
    """List the numbers of the account, whole.

    At most one of the filters may be given.
    """
    connection, wanted, only = AccountOptions.out_of(given), ListRequest.out_of(given), NumberFilter.out_of(given)
    asyncio.run(_list(connection, wanted, only))


async def _list(connection: AccountOptions, wanted: ListRequest, only: NumberFilter) -> None:
    async with connection.client() as client:
        await print_list(
            client.numbers.list(**only.argument, **wanted.paging), wanted, ListColumns("number", COLUMNS, _row)
        )


def _row(found: Number) -> Sequence[object]:
    process = " / ".join(filter(None, (found.process, found.subprocess)))
    place = (found.department, found.operation, process)
    return found.phone_number, found.status, found.label_name, found.feature_set_name, found.call_me_back, *place


@numbers.command()
@click.argument("feature_set_id", type=identifier, metavar="FEATURE_SET")
@click.argument("file")
@click.option(
    "--wait", type=parse_duration, metavar="DURATION", help="Wait so long until all numbers taken are listed."
)
@connection_options
@click.option("--json", "as_json", is_flag=True, help="The job as one JSON object, with all numbers.")
def publish(feature_set_id: str, file: str, wait: float | None, as_json: bool, **given: Any) -> None:
    """List the numbers of FILE under a feature set.

    FILE has one number a line, or is CSV with a column phone_number or number; - is standard input. A bad line refuses
    the whole file before anything is sent.
    """
    connection, given_numbers = AccountOptions.out_of(given), _numbers_of(file)
    click.get_current_context().exit(asyncio.run(_publish(connection, feature_set_id, given_numbers, wait, as_json)))


@numbers.command()
@click.argument("feature_set_id", type=identifier, metavar="FEATURE_SET")
@click.argument("file")
@connection_options
@click.option("--json", "as_json", is_flag=True, help="The job as one JSON object, with all numbers.")
def delist(feature_set_id: str, file: str, as_json: bool, **given: Any) -> None:
    """Delist the numbers of FILE from a feature set.

    FILE is as for publish. The work is done some time after the job was taken.
    """
    connection, given_numbers = AccountOptions.out_of(given), _numbers_of(file)
    click.get_current_context().exit(asyncio.run(_delist(connection, feature_set_id, given_numbers, as_json)))


def _numbers_of(file: str) -> tuple[str, ...]:
    """The numbers; a file with a bad line, or without any number, ends the command."""
    read = read_numbers(file)
    if read.refusal is not None:
        click.echo(read.refusal, err=True)
        click.get_current_context().exit(ExitCode.INPUT)
    if read.again:
        click.echo(f"Note: {counted(read.again, 'repeated number')} in {read.name}; each is sent once.", err=True)
    return read.numbers


async def _publish(
    connection: AccountOptions, feature_set_id: str, given: tuple[str, ...], wait: float | None, as_json: bool
) -> int:
    async with connection.client() as client:
        outcome = await _outcome(client.numbers.publish(feature_set_id, given), given, REFUSED, as_json)
        if wait is not None and outcome.taken and not outcome.has_failed:
            count = counted(len(outcome.taken), "number")
            click.echo(
                f"Waiting for {count} to be listed, {in_words(wait)} at most. Ctrl-C ends the waiting, not the job.",
                err=True,
            )
            await client.numbers.wait_listed(feature_set_id, outcome.taken, timeout=wait)
            click.echo(f"{count} listed.", err=True)
    return outcome.code


async def _delist(connection: AccountOptions, feature_set_id: str, given: tuple[str, ...], as_json: bool) -> int:
    async with connection.client() as client:
        return (await _outcome(client.numbers.delist(feature_set_id, given), given, NOT_DELISTED, as_json)).code


async def _outcome(
    work: Awaitable[NumberJob], given: tuple[str, ...], refusing: tuple[str, ...], as_json: bool
) -> JobOutcome:
    """What became of the job, told; also where it broke off, as far as it came."""
    try:
        outcome = JobOutcome(await work, given, refusing)
    except NumberJobIncomplete as error:
        _tell(JobOutcome(error.job, given[: error.done], refusing), as_json)
        raise
    _tell(outcome, as_json)
    return outcome


@attrs.frozen
class JobOutcome:
    """An answer, read: `given` are the numbers that it is about, `refusing` the buckets that mean no."""

    job: NumberJob
    given: tuple[str, ...]
    refusing: tuple[str, ...]

    @property
    def has_failed(self) -> bool:
        """Whether the service did not take the job."""
        return (self.job.status or "").casefold() == FAILED

    @property
    def refused(self) -> tuple[str, ...]:
        """The numbers that the service will not work on."""
        return tuple(found for bucket in self.refusing for found in getattr(self.job, bucket))

    @property
    def unnamed(self) -> tuple[str, ...]:
        """The numbers that no bucket names. Listing one whose delisting still runs is ignored, say the pages."""
        named = {found.removeprefix("+") for found in itertools.chain.from_iterable(self.buckets.values())}
        return tuple(found for found in self.given if found not in named)

    @property
    def taken(self) -> tuple[str, ...]:
        """The numbers that are worked on, in the order given."""
        out = {found.removeprefix("+") for found in (*self.refused, *self.unnamed)}
        return tuple(found for found in self.given if found not in out)

    @property
    def code(self) -> int:
        """Done, or in part: the job failed, or not all of its numbers were taken."""
        return ExitCode.PARTIAL if self.has_failed or self.refused or self.unnamed else ExitCode.DONE

    @property
    def buckets(self) -> dict[str, tuple[str, ...]]:
        """The buckets that have numbers, by name."""
        names = (field.name for field in attrs.fields(type(self.job)) if field.name.endswith(BUCKET))
        return {name.removesuffix(BUCKET): found for name in names if (found := getattr(self.job, name))}

    @property
    def verdict(self) -> str:
        """The whole in a few words."""
        if self.has_failed:
            return f"The service did not take the job; it says '{masked(self.job.status or '')}'."
        said = [f"Job taken; the service says '{masked(self.job.status)}'." if self.job.status else "Job taken."]
        if self.refused:
            said.append(f"Refused: {counted(len(self.refused), 'number')}.")
        if self.unnamed:
            said.append(f"The answer says nothing of {counted(len(self.unnamed), 'number')}; are they being delisted?")
        return " ".join(said)


def _tell(outcome: JobOutcome, as_json: bool) -> None:
    if as_json:
        print_json(outcome.job)
        return
    rows = [(name.replace("_", " "), number(len(found)), _some(found)) for name, found in outcome.buckets.items()]
    if rows:
        print_table(BUCKETS, rows)
        click.echo()
    click.echo(outcome.verdict)


def _some(found: tuple[str, ...]) -> str:
    more = len(found) - SHOWN_MAX
    return ", ".join(found[:SHOWN_MAX]) + (f" and {number(more)} more" if more > 0 else "")
