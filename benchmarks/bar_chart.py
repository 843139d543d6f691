"""Horizontal bar chart as SVG, with a light and a dark style."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal
from xml.sax.saxutils import escape

import attrs

WIDTH = 840
MARGIN = 24
NAME_WIDTH = 300
VALUE_WIDTH = 90
BAR, PITCH = 20, 30
TOP = 92
BOTTOM = 22

STYLE = """\
    text { font: 14px system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; fill: #1f2328 }
    .title { font-size: 18px; font-weight: 600 }
    .note { font-size: 12px; fill: #59636e }
    .card { fill: #ffffff; stroke: #d1d9e0 }
    .limit { fill: #8c959f }
    .library { fill: #0969da }
    .peer { fill: #c69026 }
    @media (prefers-color-scheme: dark) {
      text { fill: #f0f6fc }
      .note { fill: #9198a1 }
      .card { fill: #0d1117; stroke: #3d444d }
      .limit { fill: #6e7681 }
      .library { fill: #4493f8 }
      .peer { fill: #d4a72c }
    }"""


@attrs.frozen
class Bar:
    """One bar: name, length in any unit, label behind it, and colour."""

    name: str
    value: float
    label: str
    kind: Literal["limit", "library", "peer"]


def render(title: str, notes: Sequence[str], bars: Sequence[Bar]) -> str:
    """Render a title, at most two notes, and the bars; the longest bar has the full width."""
    height = TOP + PITCH * len(bars) + BOTTOM
    room = WIDTH - 2 * MARGIN - NAME_WIDTH - VALUE_WIDTH
    longest = max(bar.value for bar in bars)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}">',
        f"  <title>{escape(title)}</title>",
        f"  <style>\n{STYLE}\n  </style>",
        f'  <rect class="card" x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1}" rx="8"/>',
        _text(MARGIN, 34, title, "title"),
        *(_text(MARGIN, 56 + 18 * number, note, "note") for number, note in enumerate(notes)),
    ]
    for number, bar in enumerate(bars):
        parts += _drawn(bar, TOP + PITCH * number, room * bar.value / longest)
    return "\n".join([*parts, "</svg>", ""])


def _drawn(bar: Bar, top: float, length: float) -> list[str]:
    left, line = MARGIN + NAME_WIDTH, top + BAR - 5
    return [
        _text(MARGIN, line, bar.name),
        f'  <rect class="{bar.kind}" x="{left}" y="{top}" width="{max(length, 1):.1f}" height="{BAR}" rx="3"/>',
        _text(left + length + 8, line, bar.label),
    ]


def _text(left: float, line: float, text: str, kind: str = "bar") -> str:
    return f'  <text class="{kind}" x="{left:.1f}" y="{line:.1f}">{escape(text)}</text>'
