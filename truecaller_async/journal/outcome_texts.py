"""What may go to the disk of a text that somebody else wrote, and the words that were said before.

A server's reason may quote the value it did not like, so every long number in it is masked, whatever the server said.
"""

from __future__ import annotations

from typing import TypeAlias

from truecaller_async.models import RowsSettled
from truecaller_async.redaction import mask_numbers

TEXT_MAX = 2000
"""Characters of a text that are kept."""

WORDS_MAX = 4096
"""Different words that are remembered. Beyond it one may be kept a second time, which costs only its bytes."""

Key: TypeAlias = tuple[str, str | None, str | None, int, bool]


def truncated(text: str | None) -> str | None:
    """The text as it may be kept: long numbers masked to their last four digits, and of a bearable length."""
    if text is None:
        return None
    return writable(mask_numbers(text)[:TEXT_MAX])


def writable(text: str) -> str:
    """The text without half characters, which no file of UTF-8 can hold."""
    return text if text.isascii() else text.encode(errors="backslashreplace").decode()


class OutcomeTexts:
    """The numbers of the words that were said. `known` are those on disk already, `last` the highest number of all."""

    def __init__(self, known: dict[Key, int], last: int) -> None:
        self._known = known
        self._last = last

    def number_of(self, settled: RowsSettled) -> tuple[int, bool]:
        """The number of this word, and whether it is a new one."""
        key = (settled.outcome.value, settled.reason, settled.field, settled.attempts, settled.possibly_duplicated)
        number = self._known.get(key)
        if number is not None:
            return number, False
        if len(self._known) >= WORDS_MAX:
            self._known.clear()
        self._last += 1
        self._known[key] = self._last
        return self._last, True
