"""State and report as lines, as JSON and as a page: whatever is in them."""

from __future__ import annotations

import json
from html.parser import HTMLParser

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from truecaller_async.cli.output import plain
from truecaller_async.cli.report.data import CampaignReport, JournalState, LostAttempt, Name, UndecidedBatch
from truecaller_async.cli.report.html import page_of
from truecaller_async.cli.report.text import lines_of, lines_of_report, ranges_said
from truecaller_async.models import Outcome, RunCost

AT = 1_763_740_800.0
HOSTILE = "</title><script>alert(1)</script>\x1b[2J\u202e\"'&"


def state(name: Name = "stopped", text: str = "long.csv", **changes: object) -> JournalState:
    known = JournalState(
        journal="j.db",
        input=text,
        results=text,
        state=name,
        pid=4711 if name == "running" else None,
        began_at=AT,
        last_run_at=AT,
        last_write=AT,
        read=10,
        total=20,
        source_ended=False,
        final=dict.fromkeys(Outcome, 1),
        open={"planned": 3, "in_flight": 0, "pending": 0, "unknown": 0},
        batches=1,
        possibly_duplicated=2,
        runs=2,
        next="truecaller campaign resume j.db",
    )
    return attrs.evolve(known, **changes)  # type: ignore[arg-type]


def report(text: str = "OS not supported", **changes: object) -> CampaignReport:
    known = CampaignReport(
        state=state(text=text),
        account="account",
        api_version="v2",
        library="1",
        on_ambiguous="hold",
        outcomes=dict.fromkeys(Outcome, 1),
        reasons=[("failed", text, 1)],
        cost=RunCost({"submit": 2}, 1, 1, 1, 75.0),
        latest=RunCost({"submit": 1}),
        twice=[(1, 500), (1001, 1001)],
        lost=[LostAttempt(3, 1, 500, AT, "token", text, text)],
        held=[UndecidedBatch(3, 1, 500, text, "truecaller campaign settle j.db 3 --applied yes|no")],
    )
    return attrs.evolve(known, **changes)  # type: ignore[arg-type]


class Seen(HTMLParser):
    """The tags of a page, and its text."""

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


def seen(page: str) -> Seen:
    reader = Seen()
    reader.feed(page)
    reader.close()
    assert reader.open == []
    return reader


def test_html_report_is_complete_and_self_contained() -> None:
    page = page_of(report(), AT)
    found = seen(page)
    assert not set(found.tags) & {"script", "img", "iframe", "form", "object"}
    assert not any(mark in page for mark in ("http:", "https:", "src=", "@import", "url("))
    for text in ("OS not supported", "settle j.db 3", "1-500, 1,001", "1 min 15 s", "resume j.db", *Outcome):
        assert text in found.text
    for part in ("prefers-color-scheme: dark", "max-width: 38rem", "@media print", 'name="viewport"'):
        assert part in page


def test_foreign_text_is_escaped_in_the_report() -> None:
    page = page_of(report(HOSTILE), AT)
    found = seen(page)
    assert "script" not in found.tags
    assert "<script>alert(1)</script>" in found.text
    assert "\x1b" not in page
    lines = "\n".join((*lines_of_report(report(HOSTILE)), *lines_of(state(text=HOSTILE))))
    assert "\x1b" not in lines
    assert "\\x1b" in lines


@given(st.text(max_size=40))
def test_any_text_gives_a_report_with_the_same_tags(text: str) -> None:
    assert seen(page_of(report(text), AT)).tags == seen(page_of(report(), AT)).tags


def test_empty_sections_are_hidden() -> None:
    quiet = report(reasons=[], lost=[], held=[], twice=[], state=state(possibly_duplicated=0, open={}, runs=1))
    shown = "\n".join(lines_of_report(quiet)) + seen(page_of(quiet, AT)).text
    for title in ("Reasons", "Lost answers", "Held", "Possibly", "Without a final word"):
        assert title not in shown


def test_after_a_purge_possible_duplicates_are_counted_but_not_listed() -> None:
    purged = report(twice=[], state=state("purged"))
    for shown in ("\n".join(lines_of_report(purged)), seen(page_of(purged, AT)).text):
        assert "2 rows sent again after an answer was lost" in shown
        assert "rows ." not in shown.lower()


def test_duplicate_is_not_called_delivered_and_next_step_is_not_report() -> None:
    assert "1 of 10 rows delivered." in seen(page_of(report(), AT)).text
    assert "next " in "\n".join(lines_of_report(report()))
    assert "next " not in "\n".join(lines_of_report(report(state=state("finished"))))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("running", "running, process 4711, since 20"),
        ("stopped", "stopped: 3 rows without a final word and the input was not read to its end"),
        ("held back", "held back: batches"),
        ("finished", "finished: every row"),
        ("purged", "purged: only the account"),
    ],
)
def test_campaign_state_is_described_and_fits_on_a_screen(name: Name, said: str) -> None:
    lines = list(lines_of(state(name)))
    assert any(line.startswith(f"state         {said}") for line in lines)
    assert "rows read     10 of about 20" in lines
    assert lines[-1] == "next          truecaller campaign resume j.db"
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 100


def test_long_lists_are_cut_in_text_output_only() -> None:
    many = report(
        lost=[LostAttempt(n, n, 1, AT, "token", "reset", "sent again") for n in range(1, 101)],
        twice=[(n, n) for n in range(1, 2000, 2)],
        reasons=[("failed", f"reason {n}", 2) for n in range(100)],
    )
    text = "\n".join(lines_of_report(many))
    assert "... and 80 more; --json and --html have all" in text
    assert "160  other reasons" in text
    assert text.count("token token") == 20
    assert len(json.loads(json.dumps(plain(many)))["lost"]) == 100
    assert seen(page_of(many, AT)).text.count("sent again") >= 100


def test_row_ranges_are_formatted_for_people() -> None:
    assert ranges_said([(1, 500), (1001, 1001)]) == "1-500, 1,001"
    assert ranges_said([(n, n) for n in range(1, 30, 2)], 2) == "1, 3 and more"
