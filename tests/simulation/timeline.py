"""What happened, in order: kept as it comes, made readable only where somebody reads it.

Two runs of one seed have equal timelines. Nothing in one is secret: tokens are told by their ids, numbers by their last
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
    """Events with their times. `hear` is told each line at once, where somebody listens.

    It is `deaf` while a dead process is torn down: what its tasks do then, in any order, did not happen.
    """

    events: list[tuple[float, str, tuple[object, ...]]] = attrs.field(factory=list)
    on_line: Callable[[str], None] | None = None
    is_muted: bool = False

    def record(self, what: str, *details: object) -> None:
        """This happens now."""
        if not self.is_muted:
            self.record_at(asyncio.get_running_loop().time(), what, *details)

    def record_at(self, at: float, what: str, *details: object) -> None:
        """Add an event that happens between two processes, where no loop runs."""
        event = (at, what, details)
        self.events.append(event)
        if self.on_line is not None:
            self.on_line(line_of(event))


def line_of(event: tuple[float, str, tuple[object, ...]]) -> str:
    """One event, readable and masked."""
    at, what, details = event
    said = " ".join(str(detail) for detail in details)
    return f"{at:12.4f}  {what:<18} {NUMBER.sub(lambda found: mask_number(found[0]), said)}"
