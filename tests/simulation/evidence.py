"""What is known of a run when it is over: what the caller saw, what the journals were told, what the server knows."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from tests.simulation.scenario import CallerAction, Campaign, Scenario
from tests.simulation.timeline import Timeline
from truecaller_async import CallRecord, RecordResult, Summary
from truecaller_async.models import JournalEntry
from truecaller_async.resilience.circuit_breaker import ServiceGuard
from truecaller_async.sandbox import TruthEntry
from truecaller_async.sandbox.state import Stats
from truecaller_async.validation.preflight import canonical

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
class CampaignRun:
    """One campaign in one process: what its reader saw.

    `end` is how it ended: "ended" (the reader came to the end, whatever it was), "died", "cancelled", "left".
    `known` is how many of the journal's entries were written before this life, and `told` after it. `policy` is its
    `on_ambiguous`.
    """

    process: int
    action: CallerAction | None
    entries_before: int
    policy: str
    entries_after: int = 0
    results: list[RecordResult] = attrs.field(factory=list)
    summary: Summary | None = None
    fault: BaseException | None = None
    end: str = "died"


@attrs.define
class CampaignHistory:
    """One campaign, from its first life to its last."""

    campaign: Campaign
    rows: Sequence[CallRecord]
    entries: list[JournalEntry]
    runs: list[CampaignRun] = attrs.field(factory=list)
    journal_errors: list[str] = attrs.field(factory=list)


@attrs.define
class SingleCall:
    """One write beside the campaigns: its record, and how it ended ("ok", or the `.sent` of the error it raised)."""

    record: CallRecord
    end: str
    error: BaseException | None = None


@attrs.frozen
class ArrivedRequest:
    """One request at the server: when (loop's time), of which process, with which token, for what, how answered."""

    at: float
    process: int
    token_id: str
    call: str
    status: int


@attrs.define
class ProcessRequests:
    """What one process asked of the way to the server: `sends` are requests handed to the transport, and `restraint`
    says what leaves were given for them."""

    guard: ServiceGuard
    sent: int = 0


@attrs.define
class Evidence:
    """Everything.

    `grants` are the permits of each process: when, which token, which call; `efforts` what each of them sent. `left` is
    what was there after the close of a client. `said` are the lines of the log and the texts of exceptions, `secrets`
    the words that may be in none of them. `broken` says what should be impossible: a loop that hangs, an exception that
    nobody took.
    """

    scenario: Scenario
    timeline: Timeline
    campaigns: list[CampaignHistory] = attrs.field(factory=list)
    single_calls: list[SingleCall] = attrs.field(factory=list)
    truth: list[TruthEntry] = attrs.field(factory=list)
    stats: Stats | None = None
    arrivals: list[ArrivedRequest] = attrs.field(factory=list)
    grants: list[list[tuple[float, str, str]]] = attrs.field(factory=list)
    process_requests: list[ProcessRequests] = attrs.field(factory=list)
    messages: list[str] = attrs.field(factory=list)
    secrets: set[str] = attrs.field(factory=set)
    leaks: list[str] = attrs.field(factory=list)
    failures: list[str] = attrs.field(factory=list)
    ended_at: float = 0.0
