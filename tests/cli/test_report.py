"""Status and report as text, JSON and HTML, with any content."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from truecaller_async.cli.output import plain
from truecaller_async.cli.report.data import (
    AmbiguousAttempt,
    CampaignReport,
    CampaignStatus,
    ReasonCount,
    StateName,
    UndecidedBatch,
    decide_command,
)
from truecaller_async.cli.report.html import html_report
from truecaller_async.cli.report.text import ranges_text, report_lines, status_lines
from truecaller_async.models import Outcome, RunCost

from .shell import REPOSITORY

AT = datetime(2025, 11, 21, 16, 0, tzinfo=UTC)
HOSTILE = "</title><script>alert(1)</script>\x1b[2J\u202e\"'&"


def status(name: StateName = "stopped", text: str = "long.csv", **changes: object) -> CampaignStatus:
    base = CampaignStatus(
        journal="j.db",
        input=text,
        results=text,
        state=name,
        pid=4711 if name == "running" else None,
        started_at=AT,
        last_run_at=AT,
        last_write_at=AT,
        read=10,
        total=20,
        source_exhausted=False,
        final=dict.fromkeys(Outcome, 1),
        open={"planned": 3, "in_flight": 0, "pending": 0, "unknown": 0},
        batches=1,
        possibly_duplicated=2,
        runs=2,
        next="truecaller campaign resume j.db",
    )
    return attrs.evolve(base, **changes)  # type: ignore[arg-type]


def report(text: str = "OS not supported", **changes: object) -> CampaignReport:
    base = CampaignReport(
        status=status(text=text),
        account="account",
        api_version="v2",
        library_version="1",
        on_ambiguous="hold",
        outcomes=dict.fromkeys(Outcome, 1),
        reasons=[ReasonCount("failed", text, 1)],
        cost=RunCost({"submit": 2}, 1, 1, 1, 75.0),
        latest_run=RunCost({"submit": 1}),
        possibly_duplicated_rows=[(1, 500), (1001, 1001)],
        ambiguous_attempts=[AmbiguousAttempt(3, 1, 500, AT, "token", text, text)],
        undecided_batches=[UndecidedBatch(3, 1, 500, text, "truecaller campaign decide j.db 3 --applied YES_OR_NO")],
    )
    return attrs.evolve(base, **changes)  # type: ignore[arg-type]


class PageParser(HTMLParser):
    """Parser that collects the tags and the text of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in ("meta", "link", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def parsed(page: str) -> PageParser:
    reader = PageParser()
    reader.feed(page)
    reader.close()
    assert reader.open == []
    return reader


def test_html_report_is_complete_and_self_contained() -> None:
    page = html_report(report(), AT)
    found = parsed(page)
    assert not set(found.tags) & {"script", "img", "iframe", "form", "object"}
    assert not any(mark in page for mark in ("http:", "https:", "src=", "@import", "url("))
    for text in ("OS not supported", "decide j.db 3", "1-500, 1,001", "1 min 15 s", "resume j.db", *Outcome):
        assert text in found.text
    for part in ("prefers-color-scheme: dark", "max-width: 38rem", "@media print", 'name="viewport"'):
        assert part in page


def test_foreign_text_is_escaped_in_the_report() -> None:
    page = html_report(report(HOSTILE), AT)
    found = parsed(page)
    assert "script" not in found.tags
    assert "<script>alert(1)</script>" in found.text
    assert "\x1b" not in page
    lines = "\n".join((*report_lines(report(HOSTILE)), *status_lines(status(text=HOSTILE))))
    assert "\x1b" not in lines
    assert "\\x1b" in lines


@given(st.text(max_size=40))
def test_any_text_gives_a_report_with_the_same_tags(text: str) -> None:
    assert parsed(html_report(report(text), AT)).tags == parsed(html_report(report(), AT)).tags


def test_every_json_field_is_documented() -> None:
    page = (REPOSITORY / "docs" / "reference" / "cli.md").read_text("utf-8")
    names = [field.name for cls in (CampaignStatus, CampaignReport) for field in attrs.fields(cls)]
    assert [name for name in names if f"`{name}`" not in page] == []


def test_times_in_json_have_a_zone() -> None:
    found = plain(report())
    assert found["status"]["started_at"] == found["ambiguous_attempts"][0]["sent_at"] == "2025-11-21T16:00:00+00:00"
    assert found["reasons"] == [{"outcome": "failed", "reason": "OS not supported", "rows": 1}]


def test_decide_command_can_be_pasted_into_a_shell() -> None:
    assert decide_command(Path("j.db"), 3) == "truecaller campaign decide j.db 3 --applied YES_OR_NO"


def test_empty_sections_are_hidden() -> None:
    quiet = report(
        reasons=[],
        ambiguous_attempts=[],
        undecided_batches=[],
        possibly_duplicated_rows=[],
        status=status(possibly_duplicated=0, open={}, runs=1),
    )
    shown = "\n".join(report_lines(quiet)) + parsed(html_report(quiet, AT)).text
    for title in ("Reasons", "Lost answers", "need a decision", "Possibly", "Without a final outcome"):
        assert title not in shown


def test_after_a_purge_possible_duplicates_are_counted_but_not_listed() -> None:
    purged = report(possibly_duplicated_rows=[], status=status("purged"))
    for shown in ("\n".join(report_lines(purged)), parsed(html_report(purged, AT)).text):
        assert "2 rows sent again after an answer was lost" in shown
        assert "rows ." not in shown.lower()


def test_duplicate_is_not_called_delivered_and_next_step_is_not_report() -> None:
    assert "1 of 10 rows delivered." in parsed(html_report(report(), AT)).text
    assert "next " in "\n".join(report_lines(report()))
    assert "next " not in "\n".join(report_lines(report(status=status("finished"))))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("running", "running, process 4711, since 20"),
        ("stopped", "stopped: 3 rows without a final outcome and the input was not read to its end"),
        ("undecided", "undecided: batches"),
        ("finished", "finished: every row"),
        ("purged", "purged: only the summary"),
    ],
)
def test_campaign_state_is_described_and_fits_on_a_screen(name: StateName, text: str) -> None:
    lines = list(status_lines(status(name)))
    assert any(line.startswith(f"state         {text}") for line in lines)
    assert "rows read     10 of about 20" in lines
    assert lines[-1] == "next          truecaller campaign resume j.db"
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 100


def test_long_lists_are_cut_in_text_output_only() -> None:
    many = report(
        ambiguous_attempts=[AmbiguousAttempt(n, n, 1, AT, "token", "reset", "sent again") for n in range(1, 101)],
        possibly_duplicated_rows=[(n, n) for n in range(1, 2000, 2)],
        reasons=[ReasonCount("failed", f"reason {n}", 2) for n in range(100)],
    )
    text = "\n".join(report_lines(many))
    assert "... and 80 more; use --json or --html to get all" in text
    assert "160  other reasons" in text
    assert text.count("token token") == 20
    assert len(json.loads(json.dumps(plain(many)))["ambiguous_attempts"]) == 100
    assert parsed(html_report(many, AT)).text.count("sent again") >= 100


def test_row_ranges_are_formatted_for_people() -> None:
    assert ranges_text([(1, 500), (1001, 1001)]) == "1-500, 1,001"
    assert ranges_text([(n, n) for n in range(1, 30, 2)], 2) == "1, 3 and more"
