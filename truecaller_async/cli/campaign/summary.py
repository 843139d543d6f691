"""How one run of a campaign is concluded: the account, what may be done next, and the journal that stays or goes.

The account goes to stdout, everything else to stderr. Wherever rows are left open, the last line there is the command
that finishes the job.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import click

from truecaller_async.cli.campaign import journal_files
from truecaller_async.cli.campaign.account import closing, print_account
from truecaller_async.cli.campaign.display_plain import summary_event
from truecaller_async.cli.campaign.job import RunContext
from truecaller_async.cli.campaign.runner import RunEnd
from truecaller_async.cli.error_messages import error_text
from truecaller_async.cli.exit_codes import exit_for_campaign
from truecaller_async.cli.formatting import counted
from truecaller_async.cli.report.data import held_in
from truecaller_async.cli.report.text import rows_said
from truecaller_async.errors import JournalError
from truecaller_async.models import Outcome

HELD_SHOWN = 3
NOTHING_KEPT = f"Nothing can be resumed: the journal was kept in memory (--journal {journal_files.MEMORY})."


def print_summary(job: RunContext, ending: RunEnd) -> int:
    """Say how it ended; a journal of ours goes when nothing needs it any more. The exit code."""
    state = None if job.journal is None else journal_files.standing_of(job.journal)
    is_done = ending.fault is None and state is not None and state.complete
    kept = job.journal
    if is_done and kept is not None and state is not None and journal_files.is_ours(kept, state):
        journal_files.erase(kept)
        kept = None
    _account(job, ending, kept)
    for text in next_steps(job, ending, kept):
        click.echo(text, err=True)
    if kept is not None and not is_done:
        click.echo(f"Resume with: {journal_files.resume_command(kept, state)}", err=True)
    return exit_for_campaign(ending.summary, ending.fault, ending.signal)


def _account(job: RunContext, ending: RunEnd, kept: Path | None) -> None:
    stdout: TextIO = sys.stderr if job.results_on_stdout else sys.stdout
    if job.as_json:
        click.echo(json.dumps(summary_event(ending.summary, journal=None if kept is None else str(kept))))
    else:
        print_account(ending.summary, job.reasons, stdout)
        click.echo(f"\n{closing(ending.summary)}", file=stdout)


def next_steps(job: RunContext, ending: RunEnd, kept: Path | None) -> Iterator[str]:
    """What a person may do about the records that were not delivered. `kept` is the journal, if it is still there."""
    summary = ending.summary
    if ending.signal is not None:
        yield f"Stopped by {ending.signal.name}."
    yield from _about_open_rows(job, ending, kept)
    if job.results is None and summary.failed + summary.invalid + summary.expired:
        yield "The reason of each row that was not delivered is written with --results FILE."
    if kept is not None:
        yield from _about_held(kept)
    if ending.fault is not None:
        yield error_text(ending.fault)
    if job.journal is None and (ending.signal or ending.fault or summary.unsent or summary.unknown):
        yield NOTHING_KEPT


def _about_open_rows(job: RunContext, ending: RunEnd, kept: Path | None) -> Iterator[str]:
    summary = ending.summary
    was_whole = ending.fault is None and ending.signal is None and not summary.unsent
    for outcome, meaning in ((Outcome.UNSENT, "not sent"), (Outcome.UNKNOWN, "sent without a final word")):
        count = getattr(summary, outcome)
        if not count:
            continue
        if kept is not None and not was_whole:
            yield f"{counted(count, 'row')} {meaning}: kept in the journal{_not_in(job)}."
        else:
            yield f"{counted(count, 'row')} {meaning}: {_where(job.results, outcome, kept)}."


def _about_held(journal: Path) -> Iterator[str]:
    """Which batches were sent without an answer, and how who knows what became of them can say so."""
    try:
        held = held_in(journal)
    except JournalError:
        return
    for batch in held[:HELD_SHOWN]:
        yield (
            f"Batch {batch.batch} ({rows_said(batch.first_row, batch.rows)}) was sent, and nobody knows whether it was "
            f"taken: {batch.seen}. If you do, say it: {batch.command}"
        )
    if len(held) > HELD_SHOWN:
        more = counted(len(held) - HELD_SHOWN, "more batch")
        yield f"... and {more} like that: {journal_files.command('report', journal)}"


def _not_in(job: RunContext) -> str:
    return "" if job.results is None or job.results_on_stdout else f", and not in {job.results} yet"


def _where(results: str | None, outcome: Outcome, kept: Path | None) -> str:
    if results is not None:
        return f"marked `{outcome}` in {'the results' if results == '-' else results}"
    if kept is not None:
        return f"which ones they are is written by {journal_files.command('results', kept)} --out FILE"
    return "which ones they are is not written down, because --results FILE was not given"
