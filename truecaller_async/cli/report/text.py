"""The state and the report of a campaign as lines for a person, in 80 columns where the values allow it."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterable, Iterator, Sequence

from truecaller_async.cli.formatting import counted, duration, moment, number, printable
from truecaller_async.cli.report.data import CampaignReport, JournalState
from truecaller_async.models import RunCost

NAME_WIDTH = 14
COUNT_WIDTH = 10
RANGES_SHOWN = 10
LOST_SHOWN = 20
REASONS_SHOWN = 20
ENDED = ("finished", "purged")
"""The states after which there is nothing more to type than what shows this very report."""
OPEN_SAID = {
    "planned": "not sent yet",
    "in_flight": "being sent",
    "pending": "accepted, no final word yet",
    "unknown": "sent, and the answer was lost",
}


def lines_of(state: JournalState) -> Iterator[str]:
    """One screen."""
    yield _pair("journal", state.journal)
    yield _pair("input", state.input)
    if state.results is not None:
        yield _pair("results", state.results)
    yield _pair("state", said_of_state(state))
    yield _pair("rows read", rows_read(state))
    yield _pair("batches", f"{number(state.batches)} accepted")
    yield _pair("runs", f"{number(state.runs)}; last write {moment(state.last_write)}")
    yield ""
    for outcome, count in state.final.items():
        if count:
            yield _count(outcome, count)
    for kind, count in state.open.items():
        if count:
            yield _count(kind.replace("_", " "), count, OPEN_SAID[kind])
    if state.possibly_duplicated:
        yield _count("sent again", state.possibly_duplicated, "of them possibly delivered twice")
    yield ""
    yield _pair("next", state.next)


def said_of_state(state: JournalState) -> str:
    """In words: running since when, or how it ended."""
    match state.state:
        case "running":
            who = f", process {state.pid}" if state.pid else ""
            return f"running{who}, since {moment(state.last_run_at)}"
        case "held back":
            return "held back: batches whose answer was lost wait for your word"
        case "stopped":
            left = sum(state.open.values())
            rest = "" if state.source_ended else "the input was not read to its end"
            open_rows = f"{counted(left, 'row')} without a final word" if left else ""
            return f"stopped: {' and '.join(filter(None, (open_rows, rest)))}"
        case "finished":
            return "finished: every row has its final word"
        case "purged":
            return "purged: only the account is left"


def rows_read(state: JournalState) -> str:
    """How far the input was read."""
    if state.source_ended:
        return f"{number(state.read)}, all of them"
    if state.total is None:
        return number(state.read)
    return f"{number(state.read)} of about {number(max(state.total, state.read))}"


def lines_of_report(report: CampaignReport) -> Iterator[str]:
    """The account, the reasons, the cost, and what may have gone wrong."""
    state = report.state
    yield _pair("journal", state.journal)
    yield _pair("input", state.input)
    yield _pair("state", said_of_state(state))
    yield _pair("account", f"{report.account}, API {report.api_version}")
    yield _pair("began", f"{moment(state.began_at)}; a lost answer: {report.on_ambiguous}")
    yield ""
    for outcome, count in report.outcomes.items():
        yield _count(outcome, count)
    yield _count("read", state.read)
    yield from _titled("Reasons", _reasons(report))
    yield ""
    yield from cost_lines(report.cost, report.latest, state)
    yield from _titled("Possibly delivered twice", _twice(report))
    yield from _titled("Lost answers", _lost(report))
    yield from _titled("Held for your word", _held(report))
    if state.state not in ENDED:
        yield ""
        yield _pair("next", state.next)


def cost_lines(cost: RunCost, latest: RunCost, state: JournalState) -> Iterator[str]:
    """Requests, tokens and time: of all runs, and of the latest."""
    requests = ", ".join(f"{number(count)} {call}" for call, count in cost.requests.items() if count)
    yield _pair("batches", number(state.batches))
    yield _pair("requests", f"{number(sum(cost.requests.values()))}{f' ({requests})' if requests else ''}")
    yield _pair("retries", number(cost.retries))
    yield _pair("refusals", counted(cost.throttled, "answer") + " 429 (too many requests)")
    yield _pair("tokens", f"{number(cost.tokens_minted)} made")
    yield _pair("elapsed", duration(cost.elapsed))
    if state.runs > 1:
        here = f"{counted(sum(latest.requests.values()), 'request')}, {duration(latest.elapsed)}"
        yield _pair("runs", f"{number(state.runs)}; the latest cost {here}")


def ranges_said(ranges: Sequence[tuple[int, int]], most: int = RANGES_SHOWN) -> str:
    """ "1-500, 1,001 and more"."""
    said = [number(first) if first == last else f"{number(first)}-{number(last)}" for first, last in ranges[:most]]
    return ", ".join(said) + (" and more" if len(ranges) > most else "")


def rows_said(first: int, rows: int) -> str:
    """ "500 rows from row 1,001"."""
    return f"{counted(rows, 'row')} from row {number(first)}"


def _reasons(report: CampaignReport) -> Iterator[str]:
    for outcome, reason, count in report.reasons[:REASONS_SHOWN]:
        yield _count(outcome, count, reason)
    more = sum(count for _, _, count in report.reasons[REASONS_SHOWN:])
    if more:
        yield _count("", more, "other reasons")


def _twice(report: CampaignReport) -> Iterator[str]:
    if report.state.possibly_duplicated:
        yield from _folded(
            f"{counted(report.state.possibly_duplicated, 'row')} sent again after an answer was lost"
            f"{f': rows {ranges_said(report.twice)}' if report.twice else ''}."
        )


def _lost(report: CampaignReport) -> Iterator[str]:
    for lost in report.lost[:LOST_SHOWN]:
        yield from _folded(
            f"batch {lost.batch}, {rows_said(lost.first_row, lost.rows)}, {moment(lost.at)}, token "
            f"{lost.token}: {lost.seen}; {lost.done}"
        )
    if len(report.lost) > LOST_SHOWN:
        yield f"... and {number(len(report.lost) - LOST_SHOWN)} more; --json and --html have all"


def _held(report: CampaignReport) -> Iterator[str]:
    for held in report.held:
        yield from _folded(f"batch {held.batch}, {rows_said(held.first_row, held.rows)}: {held.seen}")
        yield f"    {held.command}"


def _titled(title: str, lines: Iterable[str]) -> Iterator[str]:
    """A paragraph, if there is something in it."""
    found = list(lines)
    if found:
        yield ""
        yield f"{title}:"
        yield from (f"  {line}" for line in found)


def _folded(text: str) -> list[str]:
    width = max(40, shutil.get_terminal_size().columns - 2)
    return textwrap.wrap(printable(text), width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def _pair(name: str, value: str) -> str:
    return f"{name:{NAME_WIDTH}}{printable(value)}"


def _count(name: str, count: int, said: str = "") -> str:
    return f"{name:{NAME_WIDTH}}{number(count):>{COUNT_WIDTH}}  {printable(said)}".rstrip()
