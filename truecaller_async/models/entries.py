"""What a journal is told, in the order in which it happens.

One `write` of one or more entries is one transaction. The order is the proof: a POST without an `Intent` cannot
exist, and an `Intent` without an `AttemptEnded` means the batch may have been applied.
"""

from __future__ import annotations

from typing import TypeAlias

import attrs

from truecaller_async.models.records import Outcome


@attrs.frozen
class Planned:
    """These rows (numbers of the source, ascending) belong to this batch now; said again, more rows join it.

    `parent` is the batch to which they belonged before.
    """

    seq: int
    rows: tuple[int, ...]
    parent: int | None = None


@attrs.frozen
class Intent:
    """The batch is about to be posted for the `attempt`-th time, with this token. `at`: wall-clock seconds."""

    seq: int
    attempt: int
    token_id: str
    at: float


@attrs.frozen
class AttemptEnded:
    """What became of that attempt: a word of `planning.batch_state.Event`, and the batch id where there is one."""

    seq: int
    attempt: int
    event: str
    at: float
    batch_id: str | None = None
    detail: str | None = None


@attrs.frozen
class Settled:
    """Rows that have the same final word, and their batch where they were planned in one."""

    rows: tuple[int, ...]
    outcome: Outcome
    reason: str | None = None
    seq: int | None = None


Entry: TypeAlias = Planned | Intent | AttemptEnded | Settled
