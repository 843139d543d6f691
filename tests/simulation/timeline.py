"""Record the events of a run in order, and format them when they are read.

Two runs of one seed have equal timelines. A timeline contains no secret: tokens are shown by id, numbers by their last
four digits.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable

import attrs

from truecaller_async.models import mask_number

NUMBER = re.compile(r"\d{9,15}")


@attrs.define
class Timeline:
    """Events with their times."""

    events: list[tuple[float, str, tuple[object, ...]]] = attrs.field(factory=list)
    """Loop time, name and details of each event."""
    on_line: Callable[[str], None] | None = None
    """Called with each line as it is recorded."""
    is_muted: bool = False
    """True while a dead process is torn down: what its tasks do then is not part of the run."""

    def record(self, what: str, *details: object) -> None:
        """Record an event at the current loop time."""
        if not self.is_muted:
            self.record_at(asyncio.get_running_loop().time(), what, *details)

    def record_at(self, at: float, what: str, *details: object) -> None:
        """Record an event between two processes, when no loop runs."""
        event = (at, what, details)
        self.events.append(event)
        if self.on_line is not None:
            self.on_line(line_of(event))


def line_of(event: tuple[float, str, tuple[object, ...]]) -> str:
    """Return one event as a masked line."""
    at, what, details = event
    said = " ".join(str(detail) for detail in details)
    return f"{at:12.4f}  {what:<18} {NUMBER.sub(lambda found: mask_number(found[0]), said)}"
