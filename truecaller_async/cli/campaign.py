"""`truecaller campaign run FILE`: every record of a file, and what became of each."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TextIO

import attrs
import click

from truecaller_async.cli.connection import Connection, connection_options
from truecaller_async.cli.exits import exit_for_campaign
from truecaller_async.cli.faults import told
from truecaller_async.cli.params import duration
from truecaller_async.cli.phrases import counted
from truecaller_async.cli.rows import Rows
from truecaller_async.clock import Clock
from truecaller_async.models import Outcome, Summary
from truecaller_async.options import CampaignOptions, PollPolicy
from truecaller_async.sources import Fill, count_rows, open_sink, open_source

if TYPE_CHECKING:
    from truecaller_async.cli.reasons import Reasons
    from truecaller_async.cli.watching import Ending

STANDARD = "-"


@click.group()
def campaign() -> None:
    """Whole files of records."""


@attrs.frozen(kw_only=True)
class Asked:
    """The options of `campaign run` that are not about the account. Durations are seconds."""

    file: str
    results: str | None
    label_id: str | None
    label_name: str | None
    reason: str | None
    window: float
    on_ambiguous: Any
    poll_deadline: float
    as_json: bool

    def fill(self) -> Fill:
        """Values for the columns that the file does not have."""

        now = int(Clock().wall() * 1000)
        return Fill(self.label_id, self.label_name, self.reason, starts_at=now, window=self.window)

    def options(self) -> CampaignOptions:
        """How the campaign is run."""
        return CampaignOptions(on_ambiguous=self.on_ambiguous, poll=PollPolicy(deadline=self.poll_deadline))

    @property
    def name(self) -> str:
        """What the file is called in messages."""
        return "standard input" if self.file == STANDARD else self.file

    @property
    def results_on_stdout(self) -> bool:
        """Whether stdout belongs to the results."""
        return self.results == STANDARD


@campaign.command()
@click.argument("file")
@click.option("--results", metavar="OUT", help="One line for each row: .csv or .jsonl, also with .gz.")
@click.option("--label-id", metavar="ID", help="A dynamic label, where the file has no such column.")
@click.option("--label-name", metavar="TEXT", help="A name for the label, where the file has no such column.")
@click.option("--reason", metavar="TEXT", help="The reason of the call, where the file has no such column.")
@click.option(
    "--window",
    type=duration,
    metavar="DURATION",
    default="4h",
    show_default=True,
    help="From starts_at to ends_at, where the file has no ends_at; without starts_at it begins now.",
)
@click.option(
    "--on-ambiguous",
    type=click.Choice(["resend", "hold"]),
    default="resend",
    show_default=True,
    help="A batch whose answer was lost: send it again (perhaps twice delivered), or leave it unknown.",
)
@click.option(
    "--poll-deadline",
    type=duration,
    metavar="DURATION",
    default="2h",
    show_default=True,
    help="How long a batch's final word is waited for.",
)
@connection_options
@click.option("--json", "as_json", is_flag=True, help="Progress and account as lines of JSON.")
def run(**given: Any) -> None:
    """Push every record of FILE.

    FILE is .csv or .jsonl, also with .gz; - is CSV on standard input.

    The columns are caller, receiver, label_id, label_name, reason, starts_at, ends_at and key; times are epoch
    milliseconds or ISO 8601 with a zone.
    """
    connection = Connection.out_of(given)
    asked = Asked(**given)
    if asked.as_json and asked.results_on_stdout:
        raise click.UsageError("--json and --results - both want standard output; write the results to a file")
    rows = Rows(open_source(asked.file, asked.fill()))
    click.get_current_context().exit(asyncio.run(_run(asked, connection, rows)))


async def _run(asked: Asked, connection: Connection, rows: Rows) -> int:
    from truecaller_async.cli.bad_rows import BadRows
    from truecaller_async.cli.reasons import Reasons
    from truecaller_async.cli.recording import Recorder
    from truecaller_async.cli.watching import Watch, display_for

    async with connection.client() as client:
        source = None if asked.file == STANDARD else asked.file
        sink = None if asked.results is None else open_sink(asked.results, source=source)
        reasons = Reasons()
        with display_for(as_json=asked.as_json, stdout_is_taken=asked.results_on_stdout) as display:
            _warn(asked, rows, display.note)
            bad_rows = BadRows(asked.name, rows.line_of, display.note)
            recorder = Recorder(sink, asked.results)
            watch = Watch(display, recorder, reasons, count_rows(asked.file), (bad_rows.note,))
            ending = await watch.over(client.push_many(rows, options=asked.options()))
            bad_rows.finish()
    _account(asked, ending, reasons)
    return exit_for_campaign(ending.summary, ending.fault, ending.signal)


def _warn(asked: Asked, rows: Rows, note: Callable[[str], None]) -> None:
    first = rows.first
    if first is None:
        note(f"Note: {asked.name} has no rows.")
    elif first.record is not None and first.record.label_id is None:
        note(
            f"Note: {asked.name} has no label_id in its first row, and --label-id is not given; "
            "which label a call then shows is for Truecaller to decide."
        )


def _account(asked: Asked, ending: Ending, reasons: Reasons) -> None:
    """The account on stdout (unless that is taken), why it ended and what to do next on stderr."""
    from truecaller_async.cli.account import closing, print_account
    from truecaller_async.cli.lines import summary_event

    stdout: TextIO = sys.stderr if asked.results_on_stdout else sys.stdout
    if asked.as_json:
        click.echo(json.dumps(summary_event(ending.summary)))
    else:
        print_account(ending.summary, reasons, stdout)
        click.echo(f"\n{closing(ending.summary)}", file=stdout)
    for text in next_steps(asked.results, ending):
        click.echo(text, err=True)
    if ending.fault is not None:
        click.echo(told(ending.fault), err=True)


def next_steps(results: str | None, ending: Ending) -> list[str]:
    """What a person may do about the records that were not delivered."""
    summary = ending.summary
    said = []
    if ending.signal is not None:
        said.append(f"Stopped by {ending.signal.name}.")
    for outcome, meaning in ((Outcome.UNSENT, "not sent"), (Outcome.UNKNOWN, "sent without a final word")):
        count = getattr(summary, outcome)
        if count:
            said.append(f"{counted(count, 'row')} {meaning}: {_where(results, outcome)}.")
    if results is None and _has_other_failures(summary):
        said.append("The reason of each row that was not delivered is written with --results FILE.")
    return said


def _where(results: str | None, outcome: Outcome) -> str:
    if results is None:
        return "which ones they are is not written down, because --results FILE was not given"
    return f"marked `{outcome}` in {'the results' if results == STANDARD else os.fspath(results)}"


def _has_other_failures(summary: Summary) -> bool:
    return summary.failed + summary.invalid + summary.expired > 0
