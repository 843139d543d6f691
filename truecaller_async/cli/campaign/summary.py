"""Print the end of a campaign: the outcome table, the next steps, and the command that resumes it.

The table goes to stdout, unless the results are written there; everything else goes to stderr. If rows are open, the
last line on stderr is the command that finishes the campaign.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from truecaller_async.cli.campaign import journal_files
from truecaller_async.cli.campaign.display_plain import summary_event
from truecaller_async.cli.campaign.failure_reasons import FailureReasons
from truecaller_async.cli.campaign.runner import RunContext, RunEnd
from truecaller_async.cli.error_messages import error_text
from truecaller_async.cli.exit_codes import exit_for_campaign
from truecaller_async.cli.formatting import counted, duration, number
from truecaller_async.cli.report.data import undecided_batches
from truecaller_async.cli.report.text import row_range_text
from truecaller_async.errors import JournalError
from truecaller_async.models import Outcome, RunCost, Summary

TABLE_WIDTH = 80
UNDECIDED_MAX = 3
NO_JOURNAL = f"The campaign cannot be resumed: its journal was kept in memory (--journal {journal_files.MEMORY})."


def print_run_end(context: RunContext, end: RunEnd) -> int:
    """Print the end of a run, and delete an automatic journal that is not needed any more.

    Returns:
        The exit code.
    """
    state = None if context.journal is None else journal_files.state_in(context.journal)
    is_finished = end.error is None and state is not None and state.complete
    journal = context.journal
    if is_finished and journal is not None and state is not None and journal_files.is_automatic(journal, state):
        journal_files.delete(journal)
        journal = None
    _print_outcomes(context, end, journal)
    for text in next_steps(context, end, journal):
        click.echo(text, err=True)
    if journal is not None and not is_finished:
        click.echo(f"Resume with: {journal_files.resume_command(journal, state)}", err=True)
    return exit_for_campaign(end.summary, end.error, end.signal)


def _print_outcomes(context: RunContext, end: RunEnd, journal: Path | None) -> None:
    file: TextIO = sys.stderr if context.results_on_stdout else sys.stdout
    if context.as_json:
        click.echo(json.dumps(summary_event(end.summary, journal=None if journal is None else str(journal))))
    else:
        print_summary(end.summary, context.reasons, file)


def next_steps(context: RunContext, end: RunEnd, journal: Path | None) -> Iterator[str]:
    """Yield what the user can do about rows that were not delivered; `journal` is None if deleted."""
    summary = end.summary
    if end.signal is not None:
        yield f"Stopped by {end.signal.name}."
    yield from _open_row_steps(context, end, journal)
    if context.results_path is None and summary.failed + summary.invalid + summary.expired:
        yield "To get the reason of each row that was not delivered, use --results FILE."
    if journal is not None:
        yield from _undecided_steps(journal)
    if end.error is not None:
        yield error_text(end.error)
    if context.journal is None and (end.signal or end.error or summary.unsent or summary.unknown):
        yield NO_JOURNAL


def _open_row_steps(context: RunContext, end: RunEnd, journal: Path | None) -> Iterator[str]:
    summary = end.summary
    is_complete = end.error is None and end.signal is None and not summary.unsent
    for outcome, meaning in ((Outcome.UNSENT, "Not sent"), (Outcome.UNKNOWN, "Without a final status")):
        count = getattr(summary, outcome)
        if not count:
            continue
        if journal is not None and not is_complete:
            yield f"{meaning}: {counted(count, 'row')}, kept in the journal{_missing_in_results(context)}."
        else:
            yield f"{meaning}: {counted(count, 'row')}, {_where_listed(context.results_path, outcome, journal)}."


def _undecided_steps(journal: Path) -> Iterator[str]:
    try:
        undecided = undecided_batches(journal)
    except JournalError:
        return
    for batch in undecided[:UNDECIDED_MAX]:
        yield (
            f"Batch {batch.batch} ({row_range_text(batch.first_row, batch.rows)}) needs a decision: {batch.cause}. "
            f"If you know whether it was applied, run: {batch.command}"
        )
    if len(undecided) > UNDECIDED_MAX:
        more = counted(len(undecided) - UNDECIDED_MAX, "more undecided batch")
        yield f"... and {more}: {journal_files.command('report', journal)}"


def _missing_in_results(context: RunContext) -> str:
    if context.results_path is None or context.results_on_stdout:
        return ""
    return f", and not in {context.results_path} yet"


def _where_listed(results_path: str | None, outcome: Outcome, journal: Path | None) -> str:
    if results_path is not None:
        return f"marked `{outcome}` in {'the results' if results_path == '-' else results_path}"
    if journal is not None:
        return f"not listed; to list them, run: {journal_files.command('results', journal)} --out FILE"
    return "not listed, because --results FILE was not given"


def print_summary(summary: Summary, reasons: FailureReasons, file: TextIO, *, throttled: str | None = None) -> None:
    """Write the outcome table, the costs, and a closing sentence.

    Args:
        summary: Counts of the campaign.
        reasons: Failure reasons.
        file: Where to write.
        throttled: Text for the row `throttled`; None counts the answers with status 429.
    """
    console = Console(file=file, highlight=False)
    console.print()
    console.print(_outcome_table(summary, reasons))
    console.print()
    console.print(_cost_table(summary, throttled or throttled_text(summary.throttled)))
    click.echo(f"\n{closing_sentence(summary)}", file=file)


def throttled_text(count: int) -> str:
    """Return "2 answers with status 429"."""
    return f"{counted(count, 'answer')} with status 429"


def closing_sentence(summary: Summary) -> str:
    """Return one sentence that says how many records were delivered."""
    if summary.read == 0:
        return "There was nothing to do."
    not_delivered = summary.read - summary.delivered - summary.duplicate
    duplicates = f", {number(summary.duplicate)} of them as a duplicate" if summary.duplicate else ""
    if not_delivered == 0:
        return f"All {counted(summary.read, 'record')} delivered{duplicates}."
    return (
        f"{number(summary.delivered)} of {counted(summary.read, 'record')} delivered; "
        f"{number(not_delivered)} not delivered."
    )


def _outcome_table(summary: Summary, reasons: FailureReasons) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), width=TABLE_WIDTH, header_style="bold")
    table.add_column("outcome", no_wrap=True)
    table.add_column("records", justify="right", no_wrap=True)
    table.add_column("main reason", no_wrap=True, overflow="ellipsis", ratio=1)
    for outcome in Outcome:
        count = getattr(summary, outcome)
        table.add_row(str(outcome), number(count), Text(reasons.most_frequent(outcome)), style="" if count else "dim")
    table.add_row("read", number(summary.read), "", style="bold")
    return table


def _cost_table(summary: Summary, throttled: str) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    by_call = ", ".join(f"{number(count)} {call}" for call, count in summary.requests.items() if count)
    total = number(sum(summary.requests.values()))
    table.add_row("batches", number(summary.batches))
    table.add_row("requests", f"{total} ({by_call})" if by_call else total)
    table.add_row("retries", number(summary.retries))
    table.add_row("throttled", throttled)
    if summary.possibly_duplicated:
        table.add_row("duplicated", counted(summary.possibly_duplicated, "record") + " possibly delivered twice")
    table.add_row("rate", f"{number(summary.records_per_second)} records/s, {_utilisation(summary)}")
    table.add_row("elapsed", duration(summary.elapsed))
    if summary.runs > 1:
        table.add_row("runs", f"{number(summary.runs)}; the latest: {_run_cost_text(summary.this_run)}")
    return table


def _run_cost_text(cost: RunCost) -> str:
    return f"{counted(sum(cost.requests.values()), 'request')}, {duration(cost.elapsed)}"


def _utilisation(summary: Summary) -> str:
    if summary.rate_utilisation is None:
        return "too few batches to compare it with the permitted rate"
    return f"batches at {100 * summary.rate_utilisation:.0f}% of the permitted rate"
