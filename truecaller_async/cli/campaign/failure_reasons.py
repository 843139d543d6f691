"""Count why records were not delivered, by outcome and kind of reason.

The reason of an invalid row contains its masked value, and other reasons contain text of the server. The values are
removed, so rows with the same problem are counted together. At most 100 kinds are kept; the others are counted as
"other reasons".
"""

from __future__ import annotations

import re
from collections import Counter

from truecaller_async.cli.formatting import masked
from truecaller_async.models import Outcome, RecordResult

KINDS_MAX = 100
REASON_CHARS = 200
OTHER = "other reasons"
VALUE = re.compile(r"""((?:^|; )\w+) (?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")""")
"""The value of a field in the text of a problem: it follows the field name at the beginning of the problem."""
SUCCESSFUL = (Outcome.DELIVERED, Outcome.DUPLICATE)


class FailureReasons:
    """Counts the reasons of results that were not delivered."""

    def __init__(self) -> None:
        self._kinds: Counter[tuple[Outcome, str]] = Counter()

    def record(self, result: RecordResult) -> None:
        """Count the reason of one result."""
        self.add(result.outcome, result.reason)

    def add(self, outcome: Outcome, reason: str | None, count: int = 1) -> None:
        """Count rows with the same outcome and reason; `delivered` and `duplicate` are ignored."""
        if outcome in SUCCESSFUL:
            return
        kind = (outcome, kind_of(reason or "no reason given"))
        if kind not in self._kinds and len(self._kinds) >= KINDS_MAX:
            kind = (outcome, OTHER)
        self._kinds[kind] += count

    def top(self, limit: int) -> tuple[tuple[int, str], ...]:
        """Return the most frequent reasons as (records, reason), at most `limit`."""
        return tuple((count, reason) for (_, reason), count in self._kinds.most_common(limit))

    def most_frequent(self, outcome: Outcome) -> str:
        """Return the most frequent reason of an outcome; "" if there is none."""
        return next((reason for (of, reason), _ in self._kinds.most_common() if of is outcome), "")


def kind_of(reason: str) -> str:
    """Return a reason without the values of its row, long numbers masked, at most 200 characters of it."""
    cut = "…" if len(reason) > REASON_CHARS else ""
    return masked(VALUE.sub(r"\1", reason[:REASON_CHARS])) + cut
