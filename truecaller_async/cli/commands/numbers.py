"""Commands `truecaller numbers list`, `publish` and `delist`: the numbers of the business.

Publishing is a job: the service accepts the numbers, sorts them into buckets, and lists them later. The documentation
does not explain the buckets, so their meaning is inferred from their names. The numbers belong to the business and are
shown completely.
"""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, Any

import attrs
import click

from truecaller_async.cli.account_options import AccountOptions, account_options
from truecaller_async.cli.exit_codes import ExitCode
from truecaller_async.cli.formatting import counted, duration, masked, number
from truecaller_async.cli.list_command import (
    FILTERS,
    ListColumns,
    ListRequest,
    NumberFilter,
    filter_options,
    list_options,
    print_list,
)
from truecaller_async.cli.number_file import read_numbers
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
    Column("feature set", optional=True),
    Column("call me back", optional=True),
    Column("department", optional=True),
    Column("operation", optional=True),
    Column("process", optional=True),
)
BUCKET_COLUMNS = (
    Column("bucket"),
    Column("numbers", justify="right"),
    Column("which"),
)
SHOWN_MAX = 3
REFUSED = ("invalid_numbers", "others_numbers", "other_feature_set_numbers", "other_phonetype_numbers")
"""Buckets whose names mean that a number is not published."""
NOT_DELISTED = ("new_numbers", *REFUSED)
"""Buckets that mean that a number is not delisted: also numbers that were never listed, as in the documented sample."""
FAILED = "failed"
BUCKET_SUFFIX = "_numbers"


@click.group()
def numbers() -> None:
    """Show, publish and delist the numbers of the business."""


@numbers.command(name="list")
@filter_options(*FILTERS)
@list_options
@account_options
def list_numbers(**params: Any) -> None:
    """List the numbers of the account.

    All digits are shown. At most one filter may be given.
    """
    account, request = AccountOptions.pop_from(params), ListRequest.pop_from(params)
    asyncio.run(_list(account, request, NumberFilter.pop_from(params)))


async def _list(account: AccountOptions, request: ListRequest, number_filter: NumberFilter) -> None:
    async with account.client() as client:
        listing = client.numbers.list(**number_filter.arguments, **request.arguments)
        await print_list(listing, request, ListColumns("number", COLUMNS, _row))


def _row(found: Number) -> Sequence[object]:
    process = " / ".join(filter(None, (found.process, found.subprocess)))
    owner = (found.department, found.operation, process)
    return found.phone_number, found.status, found.label_name, found.feature_set_name, found.call_me_back, *owner


@numbers.command()
@click.argument("feature_set_id", type=identifier, metavar="FEATURE_SET")
@click.argument("file")
@click.option(
    "--wait",
    type=parse_duration,
    metavar="DURATION",
    help="Wait for at most this time until all accepted numbers are listed.",
)
@account_options
@click.option("--json", "as_json", is_flag=True, help="Print the job as one JSON object, with all numbers.")
def publish(feature_set_id: str, file: str, wait: float | None, as_json: bool, **params: Any) -> None:
    """List the numbers of FILE under a feature set.

    FILE has one number per line, or is CSV with a column phone_number or number; - is standard input. If a line is bad,
    the whole file is refused before anything is sent.
    """
    account, submitted = AccountOptions.pop_from(params), _numbers_in(file)
    click.get_current_context().exit(asyncio.run(_publish(account, feature_set_id, submitted, wait, as_json)))


@numbers.command()
@click.argument("feature_set_id", type=identifier, metavar="FEATURE_SET")
@click.argument("file")
@account_options
@click.option("--json", "as_json", is_flag=True, help="Print the job as one JSON object, with all numbers.")
def delist(feature_set_id: str, file: str, as_json: bool, **params: Any) -> None:
    """Delist the numbers of FILE from a feature set.

    FILE is as for publish. The service delists the numbers some time after it accepted the job.
    """
    account, submitted = AccountOptions.pop_from(params), _numbers_in(file)
    click.get_current_context().exit(asyncio.run(_delist(account, feature_set_id, submitted, as_json)))


def _numbers_in(file: str) -> tuple[str, ...]:
    """Return the numbers of a file; exit with 4 if it has a bad line or no number."""
    content = read_numbers(file)
    if content.refusal is not None:
        click.echo(content.refusal, err=True)
        click.get_current_context().exit(ExitCode.INPUT)
    if content.repeated:
        repeated = counted(content.repeated, "repeated number")
        click.echo(f"Note: {repeated} in {content.name}; each number is sent once.", err=True)
    return content.numbers


async def _publish(
    account: AccountOptions, feature_set_id: str, submitted: tuple[str, ...], wait: float | None, as_json: bool
) -> int:
    async with account.client() as client:
        job = client.numbers.publish(feature_set_id, submitted)
        outcome = await _printed_outcome(job, submitted, REFUSED, as_json)
        if wait is not None and outcome.accepted and not outcome.has_failed:
            count = counted(len(outcome.accepted), "number")
            click.echo(
                f"Waiting at most {duration(wait)} for {count} to be listed. Ctrl-C ends the waiting, not the job.",
                err=True,
            )
            await client.numbers.wait_listed(feature_set_id, outcome.accepted, timeout=wait)
            click.echo(f"{count} listed.", err=True)
    return outcome.code


async def _delist(account: AccountOptions, feature_set_id: str, submitted: tuple[str, ...], as_json: bool) -> int:
    async with account.client() as client:
        job = client.numbers.delist(feature_set_id, submitted)
        return (await _printed_outcome(job, submitted, NOT_DELISTED, as_json)).code


async def _printed_outcome(
    job: Awaitable[NumberJob], submitted: tuple[str, ...], refusing: tuple[str, ...], as_json: bool
) -> JobOutcome:
    """Wait for a job, print and return its outcome; if only a part was sent, print that part and raise."""
    try:
        outcome = JobOutcome(await job, submitted, refusing)
    except NumberJobIncomplete as error:
        _print_outcome(JobOutcome(error.job, submitted[: error.done], refusing), as_json)
        raise
    _print_outcome(outcome, as_json)
    return outcome


@attrs.frozen
class JobOutcome:
    """Meaning of the answer to a job."""

    job: NumberJob
    """The answer of the service."""
    submitted: tuple[str, ...]
    """The numbers that were sent."""
    refusing: tuple[str, ...]
    """Names of the buckets whose numbers are refused."""

    @property
    def has_failed(self) -> bool:
        """Return whether the service rejected the whole job."""
        return (self.job.status or "").casefold() == FAILED

    @property
    def refused(self) -> tuple[str, ...]:
        """Return the numbers in buckets that mean a refusal."""
        return tuple(found for bucket in self.refusing for found in getattr(self.job, bucket))

    @property
    def unmentioned(self) -> tuple[str, ...]:
        """Return the numbers in no bucket. The documentation: a number that is being delisted is ignored."""
        mentioned = {found.removeprefix("+") for found in itertools.chain.from_iterable(self.buckets.values())}
        return tuple(found for found in self.submitted if found not in mentioned)

    @property
    def accepted(self) -> tuple[str, ...]:
        """Return the numbers that the service processes, in the order in which they were sent."""
        not_accepted = {found.removeprefix("+") for found in (*self.refused, *self.unmentioned)}
        return tuple(found for found in self.submitted if found not in not_accepted)

    @property
    def code(self) -> int:
        """Return the exit code: 0 if all numbers were accepted, otherwise 5."""
        return ExitCode.PARTIAL if self.has_failed or self.refused or self.unmentioned else ExitCode.DONE

    @property
    def buckets(self) -> dict[str, tuple[str, ...]]:
        """Return the buckets that are not empty, by name without `_numbers`."""
        names = (field.name for field in attrs.fields(type(self.job)) if field.name.endswith(BUCKET_SUFFIX))
        return {name.removesuffix(BUCKET_SUFFIX): found for name in names if (found := getattr(self.job, name))}

    @property
    def sentence(self) -> str:
        """Return the outcome as text."""
        if self.has_failed:
            return f"The service did not accept the job; its status is '{masked(self.job.status or '')}'."
        status = f"; its status is '{masked(self.job.status)}'" if self.job.status else ""
        sentences = [f"Job accepted{status}."]
        if self.refused:
            sentences.append(f"Refused: {counted(len(self.refused), 'number')}.")
        if self.unmentioned:
            unmentioned = counted(len(self.unmentioned), "number")
            sentences.append(f"The answer does not mention {unmentioned}; check whether they are being delisted.")
        return " ".join(sentences)


def _print_outcome(outcome: JobOutcome, as_json: bool) -> None:
    if as_json:
        print_json(outcome.job)
        return
    rows = [(name.replace("_", " "), number(len(found)), _first(found)) for name, found in outcome.buckets.items()]
    if rows:
        print_table(BUCKET_COLUMNS, rows)
        click.echo()
    click.echo(outcome.sentence)


def _first(found: tuple[str, ...]) -> str:
    more = len(found) - SHOWN_MAX
    return ", ".join(found[:SHOWN_MAX]) + (f" and {number(more)} more" if more > 0 else "")
