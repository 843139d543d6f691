"""Check that the chart in ARCHITECTURE.md has exactly the transitions and events of `batch_state`."""

from __future__ import annotations

import re

import pytest

from truecaller_async.campaign.core.batch_state import TRANSITIONS, BatchEvent, BatchState

from .sources import REPOSITORY
from .state_chart import BEGIN, END, arrows, chart_of, diagram

ARROW = re.compile(r"^ +(\w+) --> (\w+): (\w+)$", re.MULTILINE)
ROW = re.compile(r"^\| `(\w+)` \|", re.MULTILINE)


@pytest.fixture(scope="module")
def chart() -> str:
    """Return the chart of ARCHITECTURE.md."""
    return chart_of((REPOSITORY / "ARCHITECTURE.md").read_text("utf-8"))


def test_the_diagram_is_the_one_that_is_drawn_from_the_table(chart: str) -> None:
    assert chart.startswith(diagram(TRANSITIONS) + "\n"), "print it with python -m tests.architecture.state_chart"


def test_the_chart_names_exactly_the_arrows_of_the_table(chart: str) -> None:
    named = [(BatchState(state), BatchEvent(event), BatchState(after)) for state, after, event in ARROW.findall(chart)]
    assert named == arrows(TRANSITIONS)


def test_the_chart_explains_each_event_once(chart: str) -> None:
    assert sorted(ROW.findall(chart)) == sorted(BatchEvent)


def test_every_state_and_every_event_has_an_arrow() -> None:
    assert {event for _, event in TRANSITIONS} == set(BatchEvent)
    assert {BatchState.PLANNED, *(after for _, _, after in arrows(TRANSITIONS))} == set(BatchState)


def test_a_diagram_without_one_arrow_is_another() -> None:
    fewer = dict(list(TRANSITIONS.items())[1:])
    assert len(ARROW.findall(diagram(fewer))) == len(arrows(TRANSITIONS)) - 1
    assert diagram(fewer) != diagram(TRANSITIONS)


@pytest.mark.parametrize("document", ["", BEGIN, f"{BEGIN} {BEGIN} {END}", f"{END}"])
def test_a_document_without_its_markers_is_refused(document: str) -> None:
    with pytest.raises(ValueError, match="must have one"):
        chart_of(document)
