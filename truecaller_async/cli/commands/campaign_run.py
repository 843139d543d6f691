"""Commands `truecaller campaign run FILE` and `resume JOURNAL`: send every record of a file.

Both do the same work. `run` starts a new campaign and creates its journal; `resume` takes what it needs from a journal.
The commands that only read or change a journal are in `campaign_journal`.
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

from truecaller_async.cli.account_options import AccountOptions, account_options
from truecaller_async.cli.campaign import journal_files
from truecaller_async.cli.campaign.input_rows import InputRows, standard_input
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
    from truecaller_async.cli.campaign.journal_info import JournalInfo
    from truecaller_async.cli.campaign.runner import RunContext

# Modules that import the engine, SQLite or rich are imported inside the functions, so that --help stays fast.

STANDARD = "-"
STANDARD_NAME = "standard input"


class CampaignGroup(click.Group):
    """Group that lists its commands in the order of use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands in the order in which they were added."""
        return list(self.commands)


@click.group(cls=CampaignGroup)
def campaign() -> None:
    """Send files of records, and resume interrupted campaigns."""


@attrs.frozen(kw_only=True)
class RunArgs:
    """Values of the options of `campaign run`, without the account options. Durations are in seconds."""

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
        """Return the values for missing columns; `at` (wall-clock seconds) replaces starts_at."""
        return ColumnDefaults(self.label_id, self.label_name, self.reason, starts_at=int(at * 1000), window=self.window)

    def source(self, at: float) -> FileSource:
        """Open the input.

        Raises:
            SourceError: The file cannot be read.
        """
        if self.file == STANDARD:
            return CsvSource(standard_input(), self.defaults(at), {})
        return open_source(self.file, self.defaults(at))

    def options(self) -> CampaignOptions:
        """Return the campaign options."""
        return CampaignOptions(on_ambiguous=self.on_ambiguous, poll=PollPolicy(deadline=self.poll_deadline))

    def journal_path(self, at: float) -> Path | None:
        """Return the path of the journal, and create an automatic one; None if it is kept in memory.

        Raises:
            ConfigError: The automatic journal cannot be created.
        """
        if self.journal is None:
            return journal_files.create_automatic(self.name, at)
        return None if self.journal == journal_files.MEMORY else Path(self.journal)

    @property
    def name(self) -> str:
        """Return the name of the input in messages."""
        return STANDARD_NAME if self.file == STANDARD else self.file

    @property
    def input_path(self) -> str | None:
        """Return the path of the input; None if it is standard input."""
        return None if self.file == STANDARD else self.file


@attrs.frozen(kw_only=True)
class ResumeArgs:
    """Values of the options of `campaign resume`; None means the value of the earlier run."""

    journal: str
    file: str | None
    results: str | None
    on_ambiguous: Any
    poll_deadline: float | None
    as_json: bool


def _results_option(text: str) -> Callable[..., Any]:
    return click.option("--results", metavar="OUT", help=text)


def _check_files(args: RunArgs | ResumeArgs) -> None:
    if args.as_json and args.results == STANDARD:
        raise click.UsageError("--json and --results - both write to standard output; write the results to a file")
    if args.results is not None and args.journal is not None and _is_same(args.results, args.journal):
        raise click.UsageError(f"the journal and the results are the same file, {args.results}; name another file")
    if args.file is not None and args.journal is not None and _is_same(args.file, args.journal):
        raise click.UsageError(f"the journal and the input are the same file, {args.file}; name another file")


def _is_same(one: str, other: str) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)


@campaign.command()
@click.argument("file")
@click.option(
    "--journal",
    metavar="PATH",
    help="The journal, from which the campaign can be resumed; memory: keeps none.  [default: a file in "
    "$XDG_STATE_HOME/truecaller/journals, deleted when every row has its final outcome, purged after 30 days]",
)
@_results_option("Write one line per row: .csv or .jsonl, also with .gz; - is standard output.")
@click.option("--label-id", metavar="ID", help="A dynamic label, if the file has no column label_id.")
@click.option("--label-name", metavar="TEXT", help="A name for the label, if the file has no column label_name.")
@click.option("--reason", metavar="TEXT", help="The reason of the call, if the file has no column reason.")
@click.option(
    "--window",
    type=parse_duration,
    metavar="DURATION",
    default="4h",
    show_default=True,
    help="Time from starts_at to ends_at, if the file has no ends_at; without starts_at the window begins now.",
)
@click.option(
    "--on-ambiguous",
    type=click.Choice(["resend", "hold"]),
    default="resend",
    show_default=True,
    help="If the answer to a batch is lost: send the batch again (possibly a duplicate), or hold it for a decision.",
)
@click.option(
    "--poll-deadline",
    type=parse_duration,
    metavar="DURATION",
    default="2h",
    show_default=True,
    help="How long to poll for the final status of a batch.",
)
@account_options
@click.option("--json", "as_json", is_flag=True, help="Print progress and summary as JSON lines.")
def run(**params: Any) -> None:
    """Send every record of FILE.

    If the command is interrupted in any way, `truecaller campaign resume` finishes the campaign.

    FILE is .csv or .jsonl, also with .gz; - is CSV on standard input.

    The columns are caller, receiver, label_id, label_name, reason, starts_at, ends_at and key. Times are epoch
    milliseconds or ISO 8601 with a zone.
    """
    account = AccountOptions.pop_from(params)
    args = RunArgs(**params)
    _check_files(args)
    at = Clock().wall()
    rows = InputRows(args.source(at))
    journal_files.purge_old_journals(at)
    click.get_current_context().exit(asyncio.run(_run(args, account, rows, at)))


@campaign.command()
@click.argument("journal")
@_results_option("Write a new results file.  [default: continue the results file of the earlier run]")
@click.option("--file", metavar="PATH", help="Where the input is now, if it was moved.")
@click.option(
    "--on-ambiguous",
    type=click.Choice(["resend", "hold"]),
    help="If the answer to a batch is lost: send it again, or hold it.  [default: as in the earlier run]",
)
@click.option(
    "--poll-deadline",
    type=parse_duration,
    metavar="DURATION",
    help="How long to poll for the final status of a batch.  [default: as in the earlier run]",
)
@account_options
@click.option("--json", "as_json", is_flag=True, help="Print progress and summary as JSON lines.")
def resume(**params: Any) -> None:
    """Finish a campaign that was interrupted.

    JOURNAL is the file whose path `campaign run` printed. No record is sent twice, except in batches whose answer was
    lost (see --on-ambiguous). The summary counts the whole campaign. Credentials come from the environment.
    """
    account = AccountOptions.pop_from(params)
    args = ResumeArgs(**params)
    _check_files(args)
    journal_files.purge_old_journals(Clock().wall(), keep=Path(args.journal))
    click.get_current_context().exit(asyncio.run(_resume(args, account)))


for command in COMMANDS:
    campaign.add_command(command)


async def _run(args: RunArgs, account: AccountOptions, rows: InputRows, at: float) -> int:
    from truecaller_async.cli.campaign.runner import ClockOffsetObserver, display_for
    from truecaller_async.cli.campaign.summary import print_run_end

    observer = ClockOffsetObserver()
    async with account.client(observer=observer) as client:
        if args.results is not None:
            check_sink(args.results, source=args.input_path)
        path = args.journal_path(at)
        context = _run_context(args, rows, path, at)
        # A pipe may block, so a source that is not a file is read in a thread that the process need not wait for.
        source = rows if rows.descriptor() is not None else ThreadSource(rows.rows())
        stream = client.push_many(source, journal=None if path is None else str(path), options=args.options())
        try:
            with display_for(as_json=context.as_json, stdout_is_taken=context.results_on_stdout) as display:
                observer.note = display.note
                _show_warnings(args, rows, display.note)
                end = await context.run(stream, display)
        finally:
            if path is not None and args.journal is None and journal_files.is_unused(path):
                journal_files.delete(path)
    return print_run_end(context, end)


def _run_context(args: RunArgs, rows: InputRows, path: Path | None, at: float) -> RunContext:
    from truecaller_async.cli.campaign.results_writer import ResultsWriter
    from truecaller_async.cli.campaign.runner import RunContext

    results = args.results
    open_results = None if results is None else partial(open_sink, results, source=args.input_path)
    return RunContext(
        name=args.name,
        results_path=results,
        journal=path,
        as_json=args.as_json,
        results=ResultsWriter(open_results, _results_name(results)),
        total=count_rows(args.file),
        line_of=rows.line_of,
        journal_notes=_journal_notes(args, path, at),
    )


def _results_name(results: str | None) -> str | None:
    return "standard output" if results == STANDARD else results


def _journal_notes(args: RunArgs, path: Path | None, at: float) -> dict[str, str]:
    if path is None:
        return {}
    notes = {journal_files.INPUT_NOTE: args.name}
    if args.results is not None and args.results != STANDARD:
        notes[journal_files.RESULTS_NOTE] = str(Path(args.results).absolute())
    if args.journal is None:
        notes[journal_files.AUTOMATIC_PATH_NOTE] = os.path.realpath(path)
    if args.input_path is None:
        notes[journal_files.DEFAULTS_NOTE] = json.dumps(attrs.asdict(args.defaults(at)))
    return notes


def _show_warnings(args: RunArgs, rows: InputRows, note: Callable[[str], None]) -> None:
    first = rows.first
    if first is None:
        note(f"Note: {args.name} has no rows.")
    elif first.record is not None and first.record.label_id is None:
        note(
            f"Note: the first row of {args.name} has no label_id, and --label-id is not given. "
            "Truecaller decides which label such a call shows."
        )


async def _resume(args: ResumeArgs, account: AccountOptions) -> int:
    from truecaller_async.cli.campaign.journal_info import JournalInfo
    from truecaller_async.cli.campaign.runner import ClockOffsetObserver, display_for
    from truecaller_async.cli.campaign.summary import print_run_end

    info = JournalInfo.of(Path(args.journal))
    if args.file is not None:
        info = info.with_input(args.file)
    observer = ClockOffsetObserver()
    async with account.client(observer=observer) as client:
        with display_for(as_json=args.as_json, stdout_is_taken=args.results == STANDARD) as display:
            observer.note = display.note
            source = _unread_rows(info) if info.input is None else info.input
            context = _resume_context(args, info, display.note)
            if isinstance(source, InputRows):
                context = attrs.evolve(context, line_of=source.line_of)
            if source is None and info.has_unreadable_rows:
                display.note(
                    f"Note: {STANDARD_NAME} cannot be read again. The {counted(info.state.position.row, 'row')} read "
                    "before are finished. To send the other rows, give a copy of the whole input with --file."
                )
            stream = client.resume(info.path, source=source, options=_changed_options(args, info))
            end = await context.run(stream, display)
    return print_run_end(context, end)


def _resume_context(args: ResumeArgs, info: JournalInfo, note: Callable[[str], None]) -> RunContext:
    from truecaller_async.cli.campaign.results_writer import ResultsWriter
    from truecaller_async.cli.campaign.runner import RunContext

    earlier_results = info.notes.get(journal_files.RESULTS_NOTE)
    results = args.results or earlier_results
    notes, open_results = {}, None
    if results is not None:
        check_sink(results, source=info.input_path)
        append = results != STANDARD and str(Path(results).absolute()) == earlier_results
        open_results = partial(info.open_results, results, append=append, note=note)
        if results != STANDARD:
            notes[journal_files.RESULTS_NOTE] = str(Path(results).absolute())
    return RunContext(
        name=info.name,
        results_path=results,
        journal=info.path,
        as_json=args.as_json,
        results=ResultsWriter(open_results, _results_name(results)),
        reasons=info.reasons,
        total=None if info.input_path is None else count_rows(info.input_path),
        journal_notes=notes,
    )


def _unread_rows(info: JournalInfo) -> InputRows | None:
    """Return the unread part of the input, with line numbers; None lets the client reopen the input."""
    descriptor, state = info.started.source, info.state
    if descriptor is None or state.source_exhausted or not is_unchanged(descriptor):
        return None
    return InputRows(reopen_source(descriptor), state.position if state.position.row else None)


def _changed_options(args: ResumeArgs, info: JournalInfo) -> CampaignOptions | None:
    """Return the options of the first run with those that were given now; None if none was given."""
    from truecaller_async.campaign.startup.start import options_of

    if args.on_ambiguous is None and args.poll_deadline is None:
        return None
    options = options_of(info.started)
    if args.on_ambiguous is not None:
        options = attrs.evolve(options, on_ambiguous=args.on_ambiguous)
    if args.poll_deadline is not None:
        options = attrs.evolve(options, poll=attrs.evolve(options.poll, deadline=args.poll_deadline))
    return options
