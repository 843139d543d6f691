"""Why records were not delivered: counts by outcome and by kind of reason.

The reason of a bad row has its masked value in it, and the reason of another the server's own words. Rows that are
wrong in the same way belong together, so the values are taken out; and only so many kinds are told apart.
"""

from __future__ import annotations

import re
from collections import Counter

from truecaller_async.cli.formatting import masked
from truecaller_async.models import Outcome, RecordResult

KINDS_KEPT = 100
LENGTH_KEPT = 200
OTHER = "other reasons"
VALUE = re.compile(r"""((?:^|; )\w+) (?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")""")
"""The value of a field, as a problem shows it: after the field's name at its beginning."""
QUIET = (Outcome.DELIVERED, Outcome.DUPLICATE)


class FailureReasons:
    """Counts the reasons of results."""

    def __init__(self) -> None:
        self._kinds: Counter[tuple[Outcome, str]] = Counter()

    def record(self, result: RecordResult) -> None:
        """One result."""
        self.add(result.outcome, result.reason)

    def add(self, outcome: Outcome, reason: str | None, count: int = 1) -> None:
        """So many rows that have the same outcome and reason."""
        if outcome in QUIET:
            return
        kind = (outcome, kind_of(reason or "no reason given"))
        if kind not in self._kinds and len(self._kinds) >= KINDS_KEPT:
            kind = (outcome, OTHER)
        self._kinds[kind] += count

    def top(self, most: int) -> tuple[tuple[int, str], ...]:
        """The most frequent ones, as (records, reason)."""
        return tuple((count, reason) for (_, reason), count in self._kinds.most_common(most))

    def main(self, outcome: Outcome) -> str:
        """The most frequent reason of that outcome; "" where there is none."""
        return next((reason for (of, reason), _ in self._kinds.most_common() if of is outcome), "")


def kind_of(reason: str) -> str:
    """A reason without the values of its row."""
    return masked(VALUE.sub(r"\1", reason[:LENGTH_KEPT]))
