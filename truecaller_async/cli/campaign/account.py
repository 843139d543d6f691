"""The account of records: how a campaign ended, as a table, and in one sentence."""

from __future__ import annotations

from typing import TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from truecaller_async.cli.campaign.failure_reasons import FailureReasons
from truecaller_async.cli.formatting import counted, duration, number
from truecaller_async.models import Outcome, RunCost, Summary

WIDTH = 80


def print_account(summary: Summary, reasons: FailureReasons, file: TextIO, *, refusals: str | None = None) -> None:
    """Write the tables. `refusals` says how often a limit was met, where somebody else than the client counted."""
    console = Console(file=file, highlight=False)
    console.print()
    console.print(_outcomes(summary, reasons))
    console.print()
    console.print(_costs(summary, refusals or counted(summary.throttled, "answer") + " 429 (too many requests)"))


def closing(summary: Summary) -> str:
    """One sentence about the whole."""
    if summary.read == 0:
        return "There was nothing to do."
    rest = summary.read - summary.delivered - summary.duplicate
    possibly_duplicated = f", {number(summary.duplicate)} of them as a duplicate" if summary.duplicate else ""
    if rest == 0:
        return f"All {counted(summary.read, 'record')} delivered{possibly_duplicated}."
    return f"{number(summary.delivered)} of {counted(summary.read, 'record')} delivered; {number(rest)} not delivered."


def _outcomes(summary: Summary, reasons: FailureReasons) -> Table:
    table = _table("outcome", "records", "main reason")
    for outcome in Outcome:
        count = getattr(summary, outcome)
        table.add_row(str(outcome), number(count), Text(reasons.main(outcome)), style="" if count else "dim")
    table.add_row("read", number(summary.read), "", style="bold")
    return table


def _costs(summary: Summary, refusals: str) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    requests = ", ".join(f"{number(count)} {call}" for call, count in summary.requests.items() if count)
    total = number(sum(summary.requests.values()))
    table.add_row("batches  ", number(summary.batches))
    table.add_row("requests", f"{total} ({requests})" if requests else total)
    table.add_row("retries", number(summary.retries))
    table.add_row("refusals", refusals)
    if summary.possibly_duplicated:
        table.add_row("sent again", counted(summary.possibly_duplicated, "record") + " possibly delivered twice")
    table.add_row("rate", f"{number(summary.records_per_second)} records/s, {_share(summary)}")
    table.add_row("elapsed", duration(summary.elapsed))
    if summary.runs > 1:
        table.add_row("runs", f"{number(summary.runs)}; {_latest(summary.this_run)}")
    return table


def _latest(run: RunCost) -> str:
    requests = counted(sum(run.requests.values()), "request")
    return f"in the latest {requests}, {duration(run.elapsed)}"


def _share(summary: Summary) -> str:
    if summary.rate_utilisation is None:
        return "too few batches to compare it with the permitted rate"
    return f"batches at {100 * summary.rate_utilisation:.0f}% of the permitted rate"


def _table(first: str, second: str, third: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), width=WIDTH, header_style="bold")
    table.add_column(first, no_wrap=True)
    table.add_column(second, justify="right", no_wrap=True)
    table.add_column(third, no_wrap=True, overflow="ellipsis", ratio=1)
    return table
