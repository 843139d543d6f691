"""Give each distinct outcome an id, and prepare server texts for the disk.

Invariants:
    - A server's reason may quote a phone number. So every long number in a stored text is masked to its last four
      digits, whatever the source of the text.
    - Each distinct outcome (outcome, reason, field, attempts, possibly duplicated) is stored in `outcome_kind`, once if
      possible. It is stored again if the cache was full, or if its reason was masked: the cache has the unmasked
      reason, and after a load only the masked one is known. A second copy costs only its bytes.
"""

from __future__ import annotations

from typing import TypeAlias

from truecaller_async.models.journal_entries import RowsSettled
from truecaller_async.redaction import mask_numbers

TEXT_MAX_CHARS = 2000
"""Longest text that is stored; a longer one is cut."""

CACHED_OUTCOMES_MAX = 4096
"""Most outcomes kept in memory. A full cache is emptied."""

OutcomeKey: TypeAlias = tuple[str, str | None, str | None, int, bool]
"""A distinct outcome: outcome, reason, field, attempts, possibly duplicated."""


def storable_text(text: str | None) -> str | None:
    """Mask the long numbers of a text, cut it to `TEXT_MAX_CHARS`, and make it writable."""
    if text is None:
        return None
    # Mask before cutting: a number that is cut in half would no longer be recognised.
    return writable(mask_numbers(text)[:TEXT_MAX_CHARS])


def writable(text: str) -> str:
    """Escape unpaired surrogates, which UTF-8 cannot encode."""
    return text if text.isascii() else text.encode(errors="backslashreplace").decode()


class OutcomeKinds:
    """Ids of the distinct outcomes.

    Args:
        known: The ids of outcomes on disk, up to `CACHED_OUTCOMES_MAX` of them.
        last_id: The highest id on disk, also among the outcomes that are not in `known`.
    """

    def __init__(self, known: dict[OutcomeKey, int], last_id: int) -> None:
        self._known = known
        self._last_id = last_id

    def id_of(self, settled: RowsSettled) -> tuple[int, bool]:
        """Return the id of this outcome, and whether it is new and must be stored."""
        key = (settled.outcome.value, settled.reason, settled.field, settled.attempts, settled.possibly_duplicated)
        outcome_id = self._known.get(key)
        if outcome_id is not None:
            return outcome_id, False
        if len(self._known) >= CACHED_OUTCOMES_MAX:
            self._known.clear()
        self._last_id += 1
        self._known[key] = self._last_id
        return self._last_id, True
