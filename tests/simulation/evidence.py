"""What is known of a run when it is over: what the caller saw, what the journals were told, what the server knows."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from tests.simulation.fate import Act, Campaign, Fate
from tests.simulation.timeline import Timeline
from truecaller_async import CallRecord, RecordResult, Summary
from truecaller_async.models import JournalEntry
from truecaller_async.resilience.circuit_breaker import ServiceGuard
from truecaller_async.sandbox import TruthEntry
from truecaller_async.sandbox.state import Stats
from truecaller_async.validation.normalise import canonical

Content = tuple[object, ...]
"""What is sent of a record, by which it is known again in the truth log: `ends_at` in seconds, for the watermark moves
it by less than one."""


def content_of(record: CallRecord) -> Content:
    """The content of a record as the caller gave it."""
    sent = canonical(record)
    ends = int(sent.ends_at) // 1000 if isinstance(sent.ends_at, int) else None
    return sent.caller, sent.receiver, sent.reason, sent.label_id, sent.starts_at, ends


def applied_content(entry: TruthEntry) -> Content:
    """The content of a record that took effect."""
    ends = entry.ends_at // 1000 if entry.ends_at is not None else None
    return entry.caller, entry.receiver, entry.reason, entry.label_id, entry.starts_at, ends


@attrs.define
class Life:
    """One campaign in one process: what its reader saw.

    `end` is how it ended: "ended" (the reader came to the end, whatever it was), "died", "cancelled", "left".
    `known` is how many of the journal's entries were written before this life, and `told` after it. `policy` is its
    `on_ambiguous`.
    """

    process: int
    act: Act | None
    known: int
    policy: str
    told: int = 0
    results: list[RecordResult] = attrs.field(factory=list)
    summary: Summary | None = None
    fault: BaseException | None = None
    end: str = "died"


@attrs.define
class Course:
    """One campaign, from its first life to its last."""

    campaign: Campaign
    rows: Sequence[CallRecord]
    entries: list[JournalEntry]
    lives: list[Life] = attrs.field(factory=list)
    flaws: list[str] = attrs.field(factory=list)


@attrs.define
class Single:
    """One write beside the campaigns: its record, and how it ended ("ok", or the `.sent` of the error it raised)."""

    record: CallRecord
    end: str
    error: BaseException | None = None


@attrs.frozen
class Arrival:
    """One request at the server: when (loop's time), of which process, with which token, for what, how answered."""

    at: float
    process: int
    token_id: str
    call: str
    status: int


@attrs.define
class Effort:
    """What one process asked of the way to the server: `sends` are requests handed to the transport, and `restraint`
    says what leaves were given for them."""

    guard: ServiceGuard
    sends: int = 0


@attrs.define
class Evidence:
    """Everything.

    `grants` are the permits of each process: when, which token, which call; `efforts` what each of them sent. `left` is
    what was there after the close of a client. `said` are the lines of the log and the texts of exceptions, `secrets`
    the words that may be in none of them. `broken` says what should be impossible: a loop that hangs, an exception that
    nobody took.
    """

    fate: Fate
    timeline: Timeline
    courses: list[Course] = attrs.field(factory=list)
    singles: list[Single] = attrs.field(factory=list)
    truth: list[TruthEntry] = attrs.field(factory=list)
    stats: Stats | None = None
    arrivals: list[Arrival] = attrs.field(factory=list)
    grants: list[list[tuple[float, str, str]]] = attrs.field(factory=list)
    efforts: list[Effort] = attrs.field(factory=list)
    said: list[str] = attrs.field(factory=list)
    secrets: set[str] = attrs.field(factory=set)
    left: list[str] = attrs.field(factory=list)
    broken: list[str] = attrs.field(factory=list)
    ended_at: float = 0.0
