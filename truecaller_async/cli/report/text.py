"""Format status and report of a campaign as text, in 80 columns if the values permit it."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterable, Iterator, Sequence

from truecaller_async.cli.formatting import counted, duration, local_time, number, printable
from truecaller_async.cli.report.data import CampaignReport, CampaignStatus
from truecaller_async.models import RunCost

NAME_WIDTH = 14
COUNT_WIDTH = 10
MIN_WIDTH = 40
RANGES_MAX = 10
ATTEMPTS_MAX = 20
REASONS_MAX = 20
ENDED = ("finished", "purged")
"""States whose next command is `report` itself, which is not repeated in the report."""
OPEN_TEXTS = {
    "planned": "not sent yet",
    "in_flight": "being sent",
    "pending": "accepted, no final status yet",
    "unknown": "sent, and the answer was lost",
}
"""Meaning of each kind of open rows."""


def status_lines(status: CampaignStatus) -> Iterator[str]:
    """Yield the lines of `campaign status`."""
    yield _pair("journal", status.journal)
    yield _pair("input", status.input)
    if status.results is not None:
        yield _pair("results", status.results)
    yield _pair("state", state_text(status))
    yield _pair("rows read", read_text(status))
    yield _pair("batches", f"{number(status.batches)} accepted")
    yield _pair("runs", f"{number(status.runs)}; last write {local_time(status.last_write_at)}")
    yield ""
    for outcome, count in status.final.items():
        if count:
            yield _count(outcome, count)
    for kind, count in status.open.items():
        if count:
            yield _count(kind.replace("_", " "), count, OPEN_TEXTS[kind])
    if status.possibly_duplicated:
        yield _count("duplicated", status.possibly_duplicated, "of them sent again, possibly delivered twice")
    yield ""
    yield _pair("next", status.next)


def state_text(status: CampaignStatus) -> str:
    """Return the state with its details: since when it runs, or what is left."""
    match status.state:
        case "running":
            process = f", process {status.pid}" if status.pid else ""
            return f"running{process}, since {local_time(status.last_run_at)}"
        case "undecided":
            return "undecided: batches whose answer was lost need a decision"
        case "stopped":
            open_count = sum(status.open.values())
            open_rows = f"{counted(open_count, 'row')} without a final outcome" if open_count else ""
            unread = "" if status.source_exhausted else "the input was not read to its end"
            return f"stopped: {' and '.join(filter(None, (open_rows, unread)))}"
        case "finished":
            return "finished: every row has its final outcome"
        case "purged":
            return "purged: only the summary is left"


def read_text(status: CampaignStatus) -> str:
    """Return how many rows of the input were read."""
    if status.source_exhausted:
        return f"{number(status.read)}, all of them"
    if status.total is None:
        return number(status.read)
    return f"{number(status.read)} of about {number(max(status.total, status.read))}"


def report_lines(report: CampaignReport) -> Iterator[str]:
    """Yield the lines of `campaign report`."""
    status = report.status
    yield _pair("journal", status.journal)
    yield _pair("input", status.input)
    yield _pair("state", state_text(status))
    yield _pair("account", f"{report.account}, API {report.api_version}")
    yield _pair("started", local_time(status.started_at))
    yield _pair("on ambiguous", report.on_ambiguous)
    yield ""
    for outcome, count in report.outcomes.items():
        yield _count(outcome, count)
    yield _count("read", status.read)
    yield from _section("Reasons", _reasons(report))
    yield ""
    yield from cost_lines(report.cost, report.latest_run, status)
    yield from _section("Possibly delivered twice", _possibly_duplicated(report))
    yield from _section("Lost answers", _ambiguous_attempts(report))
    yield from _section("Batches that need a decision", _undecided_batches(report))
    if status.state not in ENDED:
        yield ""
        yield _pair("next", status.next)


def cost_lines(cost: RunCost, latest_run: RunCost, status: CampaignStatus) -> Iterator[str]:
    """Yield requests, tokens and time of all runs, and the cost of the latest run."""
    by_call = ", ".join(f"{number(count)} {call}" for call, count in cost.requests.items() if count)
    yield _pair("batches", number(status.batches))
    yield _pair("requests", f"{number(sum(cost.requests.values()))}{f' ({by_call})' if by_call else ''}")
    yield _pair("retries", number(cost.retries))
    yield _pair("throttled", counted(cost.throttled, "answer") + " with status 429")
    yield _pair("tokens", f"{number(cost.tokens_minted)} minted")
    yield _pair("elapsed", duration(cost.elapsed))
    if status.runs > 1:
        latest = f"{counted(sum(latest_run.requests.values()), 'request')}, {duration(latest_run.elapsed)}"
        yield _pair("runs", f"{number(status.runs)}; the latest: {latest}")


def ranges_text(ranges: Sequence[tuple[int, int]], limit: int = RANGES_MAX) -> str:
    """Return row ranges as "1-500, 1,001 and more"."""
    texts = [number(first) if first == last else f"{number(first)}-{number(last)}" for first, last in ranges[:limit]]
    return ", ".join(texts) + (" and more" if len(ranges) > limit else "")


def row_range_text(first: int, rows: int) -> str:
    """Return "500 rows from row 1,001"."""
    return f"{counted(rows, 'row')} from row {number(first)}"


def _reasons(report: CampaignReport) -> Iterator[str]:
    for each in report.reasons[:REASONS_MAX]:
        yield _count(each.outcome, each.rows, each.reason)
    more = sum(each.rows for each in report.reasons[REASONS_MAX:])
    if more:
        yield _count("", more, "other reasons")


def _possibly_duplicated(report: CampaignReport) -> Iterator[str]:
    if report.status.possibly_duplicated:
        rows = f": rows {ranges_text(report.possibly_duplicated_rows)}" if report.possibly_duplicated_rows else ""
        count = counted(report.status.possibly_duplicated, "row")
        yield from _wrapped(f"{count} sent again after an answer was lost{rows}.")


def _ambiguous_attempts(report: CampaignReport) -> Iterator[str]:
    for attempt in report.ambiguous_attempts[:ATTEMPTS_MAX]:
        yield from _wrapped(
            f"batch {attempt.batch}, {row_range_text(attempt.first_row, attempt.rows)}, {local_time(attempt.sent_at)}, "
            f"token {attempt.token_id}: {attempt.cause}; {attempt.action}"
        )
    if len(report.ambiguous_attempts) > ATTEMPTS_MAX:
        yield f"... and {number(len(report.ambiguous_attempts) - ATTEMPTS_MAX)} more; use --json or --html to get all"


def _undecided_batches(report: CampaignReport) -> Iterator[str]:
    for batch in report.undecided_batches:
        yield from _wrapped(f"batch {batch.batch}, {row_range_text(batch.first_row, batch.rows)}: {batch.cause}")
        yield f"    {batch.command}"


def _section(title: str, lines: Iterable[str]) -> Iterator[str]:
    found = list(lines)
    if found:
        yield ""
        yield f"{title}:"
        yield from (f"  {line}" for line in found)


def _wrapped(text: str) -> list[str]:
    width = max(MIN_WIDTH, shutil.get_terminal_size().columns - 2)
    return textwrap.wrap(printable(text), width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def _pair(name: str, value: str) -> str:
    return f"{name:{NAME_WIDTH}}{printable(value)}"


def _count(name: str, count: int, text: str = "") -> str:
    return f"{name:{NAME_WIDTH}}{number(count):>{COUNT_WIDTH}}  {printable(text)}".rstrip()
