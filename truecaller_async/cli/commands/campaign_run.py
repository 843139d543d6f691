"""`truecaller campaign run FILE` and `resume JOURNAL`: every record of a file, and what became of each.

Both are the same job (`job`), begun here or gone on with: the first makes a journal, unless none is wanted, and the
second reads from it what else there is to know.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import click

from truecaller_async.cli.account_options import AccountOptions, connection_options
from truecaller_async.cli.campaign import journal_files
from truecaller_async.cli.campaign.input_rows import InputRows, standard_input
from truecaller_async.cli.campaign.retention import keep_retention
from truecaller_async.cli.commands.campaign_journal import COMMANDS
from truecaller_async.cli.formatting import counted
from truecaller_async.cli.param_types import parse_duration
from truecaller_async.clock import Clock
from truecaller_async.options import CampaignOptions, PollPolicy
from truecaller_async.sinks import open_sink
from truecaller_async.sinks.result_sink import check_sink
from truecaller_async.sources import (
    ColumnDefaults,
    CsvSource,
    FileSource,
    ThreadSource,
    count_rows,
    is_unchanged,
    open_source,
    reopen_source,
)

if TYPE_CHECKING:
    from truecaller_async.cli.campaign.job import RunContext
    from truecaller_async.cli.campaign.journal_info import JournalInfo

STANDARD = "-"
STANDARD_NAME = "standard input"


@click.group()
def campaign() -> None:
    """Whole files of records."""


@attrs.frozen(kw_only=True)
class RunArgs:
    """The options of `campaign run` that are not about the account. Durations are seconds."""

    file: str
    journal: str | None
    results: str | None
    label_id: str | None
    label_name: str | None
    reason: str | None
    window: float
    on_ambiguous: Any
    poll_deadline: float
    as_json: bool

    def defaults(self, at: float) -> ColumnDefaults:
        """Values for the columns that the file does not have."""
        return ColumnDefaults(self.label_id, self.label_name, self.reason, starts_at=int(at * 1000), window=self.window)

    def source(self, at: float) -> FileSource:
        """The input. Raises `SourceError`."""
        if self.file == STANDARD:
            return CsvSource(standard_input(), self.defaults(at), {})
        return open_source(self.file, self.defaults(at))

    def options(self) -> CampaignOptions:
        """How the campaign is run."""
        return CampaignOptions(on_ambiguous=self.on_ambiguous, poll=PollPolicy(deadline=self.poll_deadline))

    def journal_path(self, at: float) -> Path | None:
        """Where the journal is kept; None is nowhere. A file of ours is made. Raises `ConfigError`."""
        if self.journal is None:
            return journal_files.claimed(self.name, at)
        return None if self.journal == journal_files.MEMORY else Path(self.journal)

    @property
    def name(self) -> str:
        """What the file is called in messages."""
        return STANDARD_NAME if self.file == STANDARD else self.file

    @property
    def input_path(self) -> str | None:
        """The file, where it is one."""
        return None if self.file == STANDARD else self.file


@attrs.frozen(kw_only=True)
class ResumeArgs:
    """The options of `campaign resume`. None means: as the journal has it."""

    journal: str
    file: str | None
    results: str | None
    on_ambiguous: Any
    poll_deadline: float | None
    as_json: bool


def _results_option(text: str) -> Callable[..., Any]:
    return click.option("--results", metavar="OUT", help=text)


def _check_places(asked: RunArgs | ResumeArgs) -> None:
    if asked.as_json and asked.results == STANDARD:
        raise click.UsageError("--json and --results - both want standard output; write the results to a file")
    if asked.results is not None and asked.journal is not None and _is_same(asked.results, asked.journal):
        raise click.UsageError(f"the journal and the results are the same file, {asked.results}; name another one")
    if asked.file is not None and asked.journal is not None and _is_same(asked.file, asked.journal):
        raise click.UsageError(f"the journal and the input are the same file, {asked.file}; name another one")


def _is_same(one: str, other: str) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)


@campaign.command()
@click.argument("file")
@click.option(
    "--journal",
    metavar="PATH",
    help="Where the campaign is remembered, so that it can be resumed; memory: is nowhere.  [default: a file of yours, "
    "which goes when every row has its final word, and is purged after 30 days without a run]",
)
@_results_option("One line for each row: .csv or .jsonl, also with .gz.")
@click.option("--label-id", metavar="ID", help="A dynamic label, where the file has no such column.")
@click.option("--label-name", metavar="TEXT", help="A name for the label, where the file has no such column.")
@click.option("--reason", metavar="TEXT", help="The reason of the call, where the file has no such column.")
@click.option(
    "--window",
    type=parse_duration,
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
    type=parse_duration,
    metavar="DURATION",
    default="2h",
    show_default=True,
    help="How long a batch's final word is waited for.",
)
@connection_options
@click.option("--json", "as_json", is_flag=True, help="Progress and account as lines of JSON.")
def run(**given: Any) -> None:
    """Push every record of FILE.

    When it is interrupted, however that happens, `truecaller campaign resume` finishes the job.

    FILE is .csv or .jsonl, also with .gz; - is CSV on standard input.

    The columns are caller, receiver, label_id, label_name, reason, starts_at, ends_at and key; times are epoch
    milliseconds or ISO 8601 with a zone.
    """
    connection = AccountOptions.out_of(given)
    asked = RunArgs(**given)
    _check_places(asked)
    at = Clock().wall()
    rows = InputRows(asked.source(at))
    keep_retention(at)
    click.get_current_context().exit(asyncio.run(_run(asked, connection, rows, at)))


@campaign.command()
@click.argument("journal")
@_results_option("Another file of results, written anew.  [default: the one of the run before, gone on with]")
@click.option("--file", metavar="PATH", help="Where the input is now, if it was moved.")
@click.option(
    "--on-ambiguous",
    type=click.Choice(["resend", "hold"]),
    help="A batch whose answer was lost.  [default: as in the run before]",
)
@click.option(
    "--poll-deadline",
    type=parse_duration,
    metavar="DURATION",
    help="How long a batch's final word is waited for.  [default: as in the run before]",
)
@connection_options
@click.option("--json", "as_json", is_flag=True, help="Progress and account as lines of JSON.")
def resume(**given: Any) -> None:
    """Finish a campaign that was interrupted.

    JOURNAL is the file that the run named. Nothing is sent twice, but for batches whose answer was lost (as
    --on-ambiguous says). The account is that of the whole campaign. Credentials come from the environment.
    """
    connection = AccountOptions.out_of(given)
    asked = ResumeArgs(**given)
    _check_places(asked)
    keep_retention(Clock().wall(), spared=Path(asked.journal))
    click.get_current_context().exit(asyncio.run(_resume(asked, connection)))


for command in COMMANDS:
    campaign.add_command(command)


async def _run(asked: RunArgs, connection: AccountOptions, rows: InputRows, at: float) -> int:
    from truecaller_async.cli.campaign.clock_note import ClockWarning
    from truecaller_async.cli.campaign.runner import display_for
    from truecaller_async.cli.campaign.summary import print_summary

    clock = ClockWarning()
    async with connection.client(observer=clock) as client:
        if asked.results is not None:
            check_sink(asked.results, source=asked.input_path)
        path = asked.journal_path(at)
        job = _begun(asked, rows, path, at)
        source = rows if rows.descriptor() is not None else ThreadSource(rows.rows())  # a pipe may keep us waiting
        stream = client.push_many(source, journal=None if path is None else str(path), options=asked.options())
        try:
            with display_for(as_json=job.as_json, stdout_is_taken=job.results_on_stdout) as display:
                clock.tell = display.note
                _warn(asked, rows, display.note)
                ending = await job.done(stream, display)
        finally:
            if path is not None and asked.journal is None and journal_files.is_unused(path):
                journal_files.erase(path)
    return print_summary(job, ending)


def _begun(asked: RunArgs, rows: InputRows, path: Path | None, at: float) -> RunContext:
    from truecaller_async.cli.campaign.job import RunContext
    from truecaller_async.cli.campaign.results_writer import ResultsWriter

    results = asked.results
    opening = None if results is None else partial(open_sink, results, source=asked.input_path)
    return RunContext(
        name=asked.name,
        results=results,
        journal=path,
        as_json=asked.as_json,
        recorder=ResultsWriter(opening, results),
        total=count_rows(asked.file),
        line_of=rows.line_of,
        remembered=_remembered(asked, path, at),
    )


def _remembered(asked: RunArgs, path: Path | None, at: float) -> dict[str, str]:
    """What the journal keeps for us."""
    if path is None:
        return {}
    words = {journal_files.INPUT: asked.name}
    if asked.results is not None and asked.results != STANDARD:
        words[journal_files.RESULTS] = str(Path(asked.results).absolute())
    if asked.journal is None:
        words[journal_files.OWN] = os.path.realpath(path)
    if asked.input_path is None:
        words[journal_files.FILL] = json.dumps(attrs.asdict(asked.defaults(at)))
    return words


def _warn(asked: RunArgs, rows: InputRows, note: Callable[[str], None]) -> None:
    first = rows.first
    if first is None:
        note(f"Note: {asked.name} has no rows.")
    elif first.record is not None and first.record.label_id is None:
        note(
            f"Note: {asked.name} has no label_id in its first row, and --label-id is not given; "
            "which label a call then shows is for Truecaller to decide."
        )


async def _resume(asked: ResumeArgs, connection: AccountOptions) -> int:
    from truecaller_async.cli.campaign.clock_note import ClockWarning
    from truecaller_async.cli.campaign.journal_info import JournalInfo
    from truecaller_async.cli.campaign.runner import display_for
    from truecaller_async.cli.campaign.summary import print_summary

    past = JournalInfo.of(Path(asked.journal))
    if asked.file is not None:
        past = past.moved(asked.file)
    clock = ClockWarning()
    async with connection.client(observer=clock) as client:
        with display_for(as_json=asked.as_json, stdout_is_taken=asked.results == STANDARD) as display:
            clock.tell = display.note
            source = _where_it_stopped(past) if past.input is None else past.input
            job = _taken_up(asked, past, display.note)
            if isinstance(source, InputRows):
                job = attrs.evolve(job, line_of=source.line_of)
            if source is None and past.lost_input:
                display.note(
                    f"Note: {STANDARD_NAME} cannot be read again. The {counted(past.state.position.row, 'row')} "
                    "that had been read are finished; give a copy of the whole input with --file to go on behind them."
                )
            stream = client.resume(past.path, source=source, options=_changed(asked, past))
            ending = await job.done(stream, display)
    return print_summary(job, ending)


def _taken_up(asked: ResumeArgs, past: JournalInfo, note: Callable[[str], None]) -> RunContext:
    from truecaller_async.cli.campaign.job import RunContext
    from truecaller_async.cli.campaign.results_writer import ResultsWriter

    remembered = past.notes.get(journal_files.RESULTS)
    results = asked.results or remembered
    words, opening = {}, None
    if results is not None:
        check_sink(results, source=past.input_path)
        goes_on = results != STANDARD and str(Path(results).absolute()) == remembered
        opening = partial(past.reopened_results, results, goes_on=goes_on, tell=note)
        if results != STANDARD:
            words[journal_files.RESULTS] = str(Path(results).absolute())
    return RunContext(
        name=past.name,
        results=results,
        journal=past.path,
        as_json=asked.as_json,
        recorder=ResultsWriter(opening, results),
        reasons=past.reasons,
        total=None if past.input_path is None else count_rows(past.input_path),
        remembered=words,
    )


def _where_it_stopped(past: JournalInfo) -> InputRows | None:
    """The input behind the last row that was read, so that lines are known; None leaves the input to the journal."""
    note, state = past.begun.source, past.state
    if note is None or state.source_exhausted or not is_unchanged(note):
        return None
    return InputRows(reopen_source(note), state.position if state.position.row else None)


def _changed(asked: ResumeArgs, past: JournalInfo) -> CampaignOptions | None:
    """The options of the first run with what is asked for otherwise; None where that is nothing."""
    from truecaller_async.engine.start import options_of

    if asked.on_ambiguous is None and asked.poll_deadline is None:
        return None
    options = options_of(past.begun)
    if asked.on_ambiguous is not None:
        options = attrs.evolve(options, on_ambiguous=asked.on_ambiguous)
    if asked.poll_deadline is not None:
        options = attrs.evolve(options, poll=attrs.evolve(options.poll, deadline=asked.poll_deadline))
    return options
