"""Draw the state machine of a batch as a Mermaid diagram for ARCHITECTURE.md.

After a change of `TRANSITIONS`, print the diagram and paste it between the markers:

    python -m tests.architecture.state_chart
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TypeAlias

from truecaller_async.campaign.core.batch_state import TRANSITIONS, BatchEvent, BatchState

Transitions: TypeAlias = Mapping[tuple[BatchState, BatchEvent], tuple[BatchState, ...]]

BEGIN = "<!-- state chart: begin -->"
END = "<!-- state chart: end -->"


def arrows(transitions: Transitions) -> list[tuple[BatchState, BatchEvent, BatchState]]:
    """Return each state, event and next state, in the order of the table."""
    return [(state, event, after) for (state, event), several in transitions.items() for after in several]


def diagram(transitions: Transitions) -> str:
    """Return the fenced diagram: one line per arrow, in the order of the table."""
    lines = [f"    {state} --> {after}: {event}" for state, event, after in arrows(transitions)]
    return "\n".join(["```mermaid", "stateDiagram-v2", f"    [*] --> {BatchState.PLANNED}", *lines, "```"])


def chart_of(document: str) -> str:
    """Return the text between the markers. Raises `ValueError` unless each marker occurs once."""
    if document.count(BEGIN) != 1 or document.count(END) != 1:
        raise ValueError(f"the document must have one {BEGIN} and one {END}")
    return document.partition(BEGIN)[2].partition(END)[0].strip()


if __name__ == "__main__":
    sys.stdout.write(diagram(TRANSITIONS) + "\n")
