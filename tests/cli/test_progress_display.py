"""Progress of a campaign: the view, the live drawing, the plain line and the JSON events."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from io import StringIO

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from truecaller_async.cli.campaign.display_live import drawing
from truecaller_async.cli.campaign.display_plain import progress_event, progress_line, summary_event
from truecaller_async.cli.campaign.progress_view import LIMITED_BY, ProgressView
from truecaller_async.models import Progress, Summary

MIDDLE = Progress(
    read=4000,
    planned=1000,
    pending=500,
    resolved=2500,
    sent=2400,
    outcomes={"delivered": 1900, "invalid": 500, "duplicate": 100},
    tokens_live=3,
    tokens_cooling_down=1,
    tokens_max=10,
    rate=800.0,
    permitted_rate=1500.0,
    limited_by="limits",
)


def drawn(view: ProgressView) -> list[str]:
    text = StringIO()
    Console(file=text, width=80, highlight=False).print(drawing(view))
    return text.getvalue().splitlines()


def test_rows_never_sent_are_not_counted_as_remaining() -> None:
    view = ProgressView(MIDDLE, 5000)
    assert view.sendable == 4400
    assert view.seconds_left == 2000 / 800


def test_wrong_row_count_is_corrected() -> None:
    assert ProgressView(MIDDLE, 10).rows == 4000
    assert ProgressView(attrs.evolve(MIDDLE, finished=True), 5000).rows == 4000
    assert ProgressView(MIDDLE, None).rows is None


def test_display_fits_into_80_columns_and_is_complete() -> None:
    waiting = attrs.evolve(MIDDLE, waiting_until=datetime(2030, 1, 1, tzinfo=UTC))
    lines = drawn(ProgressView(waiting, 5000, ((400, "receiver is missing"), (100, "x" * 300))))
    assert max(map(len, lines)) <= 80
    text = "\n".join(lines)
    for part in (
        "2,400 of 4,400",
        "2,500 of 5,000",
        "50%",
        "800 of 1,500 records/s",
        "2.5 s left",
        "limited by the rate limits",
    ):
        assert part in text
    for part in ("3 live, 1 cooling down, 10 max", "no token may be minted before", "400  receiver is missing"):
        assert part in text


UNAVAILABLE = attrs.evolve(MIDDLE, limited_by="service")
PROBING = "the service does not answer; probes are sent until it does"


def test_unresponsive_service_is_shown_as_the_reason_without_an_estimate() -> None:
    view = ProgressView(UNAVAILABLE, 5000)
    lines = drawn(view)
    assert max(map(len, lines)) <= 80
    assert [line.rstrip() for line in lines if line.startswith(("rate", "waiting"))] == [
        "rate      800 of 1,500 records/s",
        f"waiting   {PROBING}",
    ]
    assert " left" not in progress_line(view)
    assert progress_line(view).endswith(f"10 max; {PROBING}")
    assert progress_event(view)["seconds_left"] is None


def test_two_reasons_for_waiting_are_both_shown() -> None:
    view = ProgressView(attrs.evolve(UNAVAILABLE, tokens_live=0, waiting_until=datetime(2030, 1, 1, tzinfo=UTC)), 5000)
    *_, token, service = drawn(view)
    assert token.startswith("waiting   no token may be minted before")
    assert service.rstrip() == " " * 10 + PROBING


@pytest.mark.parametrize("limited_by", ["limits", "source", "reader", "max_unresolved"])
def test_reason_that_limits_the_rate_is_never_cut_off(limited_by: str) -> None:
    view = ProgressView(attrs.evolve(MIDDLE, limited_by=limited_by, rate=5000.0, permitted_rate=5000.0), 18_000_000)
    assert view.rate.endswith("left, " + LIMITED_BY[limited_by])
    assert view.rate in "\n".join(drawn(view))


def test_last_frame_has_both_bars() -> None:
    lines = drawn(ProgressView(attrs.evolve(MIDDLE, finished=True, read=4000, resolved=4000), 5000))
    assert len(lines) == 2
    assert "4,000 of 4,000  100%" in lines[1]


def test_unknown_total_is_drawn_without_a_percentage() -> None:
    text = "\n".join(drawn(ProgressView(MIDDLE, None)))
    assert "2,400" in text
    assert "%" not in text


@given(
    progress=st.builds(
        Progress,
        read=st.integers(0, 10**9),
        sent=st.integers(0, 10**9),
        resolved=st.integers(0, 10**9),
        rate=st.floats(0, 1e9),
        permitted_rate=st.floats(0, float("inf")),
        tokens_live=st.integers(0, 20),
        finished=st.booleans(),
    ),
    total=st.none() | st.integers(0, 10**9),
)
def test_any_progress_can_be_rendered(progress: Progress, total: int | None) -> None:
    view = ProgressView(progress, total)
    assert max(map(len, drawn(view))) <= 80
    assert progress_line(view).isascii()
    event = json.loads(json.dumps(progress_event(view), allow_nan=False))
    assert event["event"] == "progress"


def test_summary_event_has_every_figure_in_summary_order() -> None:
    event = summary_event(Summary(read=2, delivered=2, requests={"submit": 1}, elapsed=1.23456))
    assert list(event) == ["event", *(field.name for field in attrs.fields(Summary))]
    assert (event["elapsed"], event["requests"]) == (1.235, {"submit": 1})
