"""Format the report of a campaign as one self-contained HTML page.

The page uses no scripts, fonts, other files or network. It follows the light or dark mode of the browser, adapts to
narrow screens, and can be printed. All texts are escaped.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from html import escape

from truecaller_async._version import __version__
from truecaller_async.cli.formatting import counted, duration, local_time, number, printable
from truecaller_async.cli.report.data import CampaignReport, CampaignStatus
from truecaller_async.cli.report.text import OPEN_TEXTS, ranges_text, read_text, row_range_text, state_text

RANGES_MAX = 200
MEANINGS = {
    "delivered": "the server reports success",
    "failed": "the server reports failure",
    "invalid": "refused by validation before sending",
    "expired": "its window closed before it could be sent",
    "duplicate": "the same content as an earlier row, which was sent once",
    "unknown": "sent, without a final status",
    "unsent": "not sent",
}
"""Meaning of each outcome."""

STYLE = """
:root { color-scheme: light dark; --ink: #1c2430; --paper: #fbfbf9; --soft: #5b6675; --line: #d9dde3; --card: #fff;
  --good: #1a7f4b; --bad: #b3261e; --warn: #9a6700; --rest: #6b7480; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e8ee; --paper: #14181e; --soft: #9aa5b4; --line: #2e3641;
  --card: #1b2129; --good: #4cc38a; --bad: #ff8a80; --warn: #e3b341; --rest: #8b95a3; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.25rem 3rem; max-width: 60rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0 0 .25rem; overflow-wrap: anywhere; }
h2 { font-size: 1.1rem; margin: 2.25rem 0 .5rem; }
p { margin: .25rem 0 .75rem; }
.soft, caption { color: var(--soft); }
.state { font-weight: 600; }
.bar { display: flex; height: .9rem; margin: 1.25rem 0 .5rem; border-radius: .45rem; overflow: hidden;
  background: var(--line); }
.bar span { min-width: 2px; }
.delivered { background: var(--good); } .failed, .invalid { background: var(--bad); }
.expired, .unknown { background: var(--warn); } .duplicate, .unsent { background: var(--rest); }
table { width: 100%; border-collapse: collapse; background: var(--card); border: 1px solid var(--line); }
caption { text-align: left; padding-bottom: .4rem; }
th, td { padding: .45rem .7rem; text-align: left; vertical-align: top; border-top: 1px solid var(--line);
  overflow-wrap: anywhere; }
thead th { border-top: 0; font-size: .85rem; color: var(--soft); font-weight: 600; overflow-wrap: normal; }
tbody th { font-weight: 600; }
td.count, th.count { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
table.counts { table-layout: fixed; }
table.counts th:first-child { width: 9.5rem; } table.counts th:nth-child(2) { width: 6.5rem; }
@media (min-width: 38.01rem) { table.lost td { min-width: 5.5rem; } table.lost td:first-child { min-width: 0; } }
tr.none th, tr.none td { color: var(--soft); font-weight: 400; }
tr.whole th, tr.whole td { border-top: 2px solid var(--line); font-weight: 700; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .3rem 1.25rem; margin: 0; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
code { font: .9em/1.4 ui-monospace, monospace; background: var(--card); border: 1px solid var(--line);
  border-radius: .3rem; padding: .1rem .35rem; overflow-wrap: anywhere; }
footer { margin-top: 2.5rem; font-size: .85rem; color: var(--soft); }
@media (max-width: 38rem) {
  table.counts th:first-child { width: 7.5rem; } table.counts th:nth-child(2) { width: 5rem; }
  table.wide.counts { table-layout: auto; } table.wide.counts td { width: auto; }
  body { padding: 1.25rem 1rem 2rem; }
  table.wide thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
  table.wide tr { display: block; padding: .4rem 0; border-top: 1px solid var(--line); }
  table.wide th, table.wide td { display: grid; grid-template-columns: 6.5rem 1fr; gap: .5rem; border: 0;
    padding: .15rem .7rem; text-align: left; white-space: normal; }
  table.wide [data-name]::before { content: attr(data-name); color: var(--soft); font-weight: 400; }
  dl { grid-template-columns: 1fr; gap: 0; } dd { margin-bottom: .5rem; }
}
@media print {
  :root { color-scheme: light; --ink: #000; --paper: #fff; --card: #fff; --soft: #444; --line: #bbb; }
  body { max-width: none; padding: 0; font-size: 11pt; }
  tr, dl, .bar { break-inside: avoid; } h2 { break-after: avoid; }
  .bar, .bar span { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
"""


def html_report(report: CampaignReport, now: datetime) -> str:
    """Return the HTML page.

    Args:
        report: The report.
        now: The current time, with a zone.
    """
    return "\n".join(_page(report, now)) + "\n"


def _page(report: CampaignReport, now: datetime) -> Iterator[str]:
    status = report.status
    yield "<!doctype html>"
    yield '<html lang="en">'
    yield '<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
    yield '<meta name="robots" content="noindex"><meta name="referrer" content="no-referrer">'
    yield '<link rel="icon" href="data:,">'
    yield f"<title>Campaign {_text(status.input)}</title><style>{STYLE}</style></head>"
    yield "<body><main>"
    yield f"<h1>Campaign {_text(status.input)}</h1>"
    yield f'<p><span class="state">{_text(state_text(status).capitalize())}.</span> '
    yield f"{_text(_sentence(report))}</p>"
    yield from _bar(report)
    yield from _outcomes(report)
    yield from _open_rows(status)
    yield from _reasons(report)
    yield from _possibly_duplicated(report)
    yield from _ambiguous_attempts(report)
    yield from _undecided_batches(report)
    yield from _details(report)
    yield "</main>"
    yield f"<footer>Written {_text(local_time(now))} by truecaller {_text(__version__)} from the journal.</footer>"
    yield "</body></html>"


def _sentence(report: CampaignReport) -> str:
    if not report.status.read:
        return "No row was read."
    return f"{number(report.outcomes['delivered'])} of {counted(report.status.read, 'row')} delivered."


def _bar(report: CampaignReport) -> Iterator[str]:
    # The bar repeats the table below it, so screen readers skip it.
    if report.status.read:
        parts = (
            f'<span class="{escape(outcome)}" style="flex:{count}"></span>'
            for outcome, count in report.outcomes.items()
            if count
        )
        yield f'<div class="bar" aria-hidden="true">{"".join(parts)}</div>'


def _outcomes(report: CampaignReport) -> Iterator[str]:
    yield "<h2>Outcomes</h2>"
    yield '<table class="counts"><thead><tr><th>Outcome</th><th class="count">Rows</th><th>Meaning</th></tr></thead>'
    yield "<tbody>"
    for outcome, count in report.outcomes.items():
        row_class = "" if count else ' class="none"'
        yield f'<tr{row_class}><th>{_text(outcome)}</th><td class="count">{number(count)}</td>'
        yield f"<td>{_text(MEANINGS[outcome])}</td></tr>"
    yield f'<tr class="whole"><th>read</th><td class="count">{number(report.status.read)}</td>'
    read = "all rows of the input" if report.status.source_exhausted else read_text(report.status)
    yield f"<td>{_text(read)}</td></tr></tbody></table>"


def _open_rows(status: CampaignStatus) -> Iterator[str]:
    rows = [(kind, count) for kind, count in status.open.items() if count]
    if rows:
        yield "<h2>Without a final outcome</h2>"
        yield from _table(
            ("State", "Rows", "Meaning"),
            ((kind.replace("_", " "), number(count), OPEN_TEXTS[kind]) for kind, count in rows),
        )


def _reasons(report: CampaignReport) -> Iterator[str]:
    if report.reasons:
        yield "<h2>Reasons</h2>"
        yield from _table(
            ("Outcome", "Rows", "Reason"),
            ((each.outcome, number(each.rows), each.reason) for each in report.reasons),
        )


def _possibly_duplicated(report: CampaignReport) -> Iterator[str]:
    if report.status.possibly_duplicated:
        yield "<h2>Possibly delivered twice</h2>"
        yield f"<p>{counted(report.status.possibly_duplicated, 'row')} sent again after an answer was lost. If the "
        yield "first attempt was applied as well, these records were delivered twice.</p>"
        if report.possibly_duplicated_rows:
            yield f"<p>Rows {_text(ranges_text(report.possibly_duplicated_rows, RANGES_MAX))}.</p>"


def _ambiguous_attempts(report: CampaignReport) -> Iterator[str]:
    if report.ambiguous_attempts:
        yield "<h2>Lost answers</h2>"
        yield "<p>These batches were sent, and no answer came that says whether they were applied.</p>"
        yield from _table(
            ("Batch", "Rows", "When", "Token", "Cause", "Action"),
            (
                (
                    str(attempt.batch),
                    row_range_text(attempt.first_row, attempt.rows),
                    local_time(attempt.sent_at),
                    attempt.token_id,
                    attempt.cause,
                    attempt.action,
                )
                for attempt in report.ambiguous_attempts
            ),
            counts=(),
        )


def _undecided_batches(report: CampaignReport) -> Iterator[str]:
    if report.undecided_batches:
        yield "<h2>Batches that need a decision</h2>"
        yield "<p>If you know whether Truecaller applied one of these batches, record it. After <em>yes</em> its rows "
        yield "stay unknown; after <em>no</em> the next resume sends them again.</p>"
        for batch in report.undecided_batches:
            rows = row_range_text(batch.first_row, batch.rows)
            yield f"<p>Batch {batch.batch}, {_text(rows)}: {_text(batch.cause)}<br>"
            yield f"<code>{escape(batch.command)}</code></p>"


def _details(report: CampaignReport) -> Iterator[str]:
    status, cost = report.status, report.cost
    by_call = ", ".join(f"{number(count)} {call}" for call, count in cost.requests.items() if count)
    yield "<h2>Cost and settings</h2><dl>"
    details: Sequence[tuple[str, str]] = (
        ("Requests", f"{number(sum(cost.requests.values()))}{f' ({by_call})' if by_call else ''}"),
        ("Batches accepted", number(status.batches)),
        ("Retries", number(cost.retries)),
        ("Throttled", counted(cost.throttled, "answer") + " with status 429"),
        ("Tokens minted", number(cost.tokens_minted)),
        ("Elapsed", f"{duration(cost.elapsed)} in {counted(status.runs, 'run')}"),
        ("Started", local_time(status.started_at)),
        ("Last write", local_time(status.last_write_at)),
        ("On ambiguous", report.on_ambiguous),
        ("Account", f"{report.account}, API {report.api_version}, truecaller {report.library_version}"),
        ("Results", status.results or "no file"),
    )
    for name, value in details:
        yield f"<dt>{_text(name)}</dt><dd>{_text(value)}</dd>"
    yield f"<dt>Journal</dt><dd>{_text(status.journal)}</dd>"
    yield f"<dt>Next</dt><dd><code>{escape(status.next)}</code></dd></dl>"


def _table(names: Sequence[str], rows: Iterable[Sequence[str]], counts: Sequence[int] = (1,)) -> Iterator[str]:
    """Yield a table whose rows become blocks on a narrow screen; `counts` are its numeric columns."""
    classes = [' class="count"' if index in counts else "" for index in range(len(names))]
    heads = "".join(f"<th{kind}>{_text(name)}</th>" for name, kind in zip(names, classes, strict=True))
    yield f'<table class="wide {"counts" if counts else "lost"}"><thead><tr>{heads}</tr></thead><tbody>'
    for row in rows:
        cells = (
            f'<td{kind} data-name="{escape(name)}">{_text(cell)}</td>'
            for name, cell, kind in zip(names, row, classes, strict=True)
        )
        yield f"<tr>{''.join(cells)}</tr>"
    yield "</tbody></table>"


def _text(text: str) -> str:
    return escape(printable(text))
