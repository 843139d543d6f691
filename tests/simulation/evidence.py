"""Everything known about a finished run: results, journal entries, and the log of the server."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import attrs

from tests.simulation.scenario import CallerAction, Campaign, Scenario
from tests.simulation.timeline import Timeline
from truecaller_async import CallRecord, RecordResult, Summary
from truecaller_async.models.journal_entries import JournalEntry
from truecaller_async.resilience.service_guard import Grant, ServiceGuard
from truecaller_async.sandbox import TruthEntry
from truecaller_async.sandbox.state import Stats
from truecaller_async.validation.normalise import canonical

Content = tuple[object, ...]
"""Content of a sent record, by which it is found in the truth log.

`ends_at` is in seconds, because a watermark changes it by less than one second.
"""


def content_of(record: CallRecord) -> Content:
    """Return the content of a record as the caller gave it."""
    sent = canonical(record)
    ends = int(sent.ends_at) // 1000 if isinstance(sent.ends_at, int) else None
    return sent.caller, sent.receiver, sent.reason, sent.label_id, sent.starts_at, ends


def applied_content(entry: TruthEntry) -> Content:
    """Return the content of a record that was applied."""
    ends = entry.ends_at // 1000 if entry.ends_at is not None else None
    return entry.caller, entry.receiver, entry.reason, entry.label_id, entry.starts_at, ends


@attrs.define
class CampaignRun:
    """One campaign in one process."""

    process: int
    """Number of the process."""
    action: CallerAction | None
    """Action of the caller in this run, if any."""
    entries_before: int
    """Entries in the journal before this run."""
    policy: str
    """`on_ambiguous` of this run."""
    entries_after: int = 0
    """Entries in the journal after this run."""
    results: list[RecordResult] = attrs.field(factory=list)
    summary: Summary | None = None
    fault: BaseException | None = None
    failed_intents: int = 0
    """Attempts that are stored although the write failed, so that nothing was sent."""
    state_errors: list[str] = attrs.field(factory=list)
    """Differences between the state of the run and the replay of its entries."""
    misplaced: list[str] = attrs.field(factory=list)
    """Open batches that were in no place, or in two."""
    not_final: list[str] = attrs.field(factory=list)
    """Results whose `final` was wrong when the reader received them."""
    end: str = "died"
    """"ended" (the reader reached the end), "died", "cancelled" or "left" (the block)."""


@attrs.define
class CampaignHistory:
    """One campaign, from its first run to its last."""

    campaign: Campaign
    rows: Sequence[CallRecord]
    entries: list[JournalEntry]
    runs: list[CampaignRun] = attrs.field(factory=list)
    journal_errors: list[str] = attrs.field(factory=list)
    """Differences between the tables of the journal and its entries."""


@attrs.define
class SingleCall:
    """One write call beside the campaigns: its record, and its end ("ok", or `.sent` of the error)."""

    record: CallRecord
    end: str
    error: BaseException | None = None


@attrs.frozen
class ArrivedRequest:
    """One request at the server: loop time, process, token, call, and status of the answer."""

    at: float
    process: int
    token_id: str
    call: str
    status: int


@attrs.define
class ProcessRequests:
    """Requests of one process: `sent` were handed to the transport."""

    guard: ServiceGuard
    sent: int = 0
    granted: Counter[Grant] = attrs.field(factory=Counter)
    """Grants at the end of the process, before a dead one is torn down."""


@attrs.define
class Evidence:
    """Everything known about a finished run."""

    scenario: Scenario
    timeline: Timeline
    campaigns: list[CampaignHistory] = attrs.field(factory=list)
    single_calls: list[SingleCall] = attrs.field(factory=list)
    truth: list[TruthEntry] = attrs.field(factory=list)
    stats: Stats | None = None
    arrivals: list[ArrivedRequest] = attrs.field(factory=list)
    """Requests that reached the server."""
    grants: list[list[tuple[float, str, str]]] = attrs.field(factory=list)
    """Permits of each process: loop time, token id and call."""
    process_requests: list[ProcessRequests] = attrs.field(factory=list)
    """Requests and grants of each process."""
    messages: list[str] = attrs.field(factory=list)
    """Lines of the log and texts of exceptions."""
    secrets: set[str] = attrs.field(factory=set)
    """Texts that must not occur in `messages` or in a journal."""
    unannounced: list[str] = attrs.field(factory=list)
    """Requests whose `AttemptStarted` was not durable at their first byte."""
    leaks: list[str] = attrs.field(factory=list)
    """Tasks, timers and permits that existed after the close of a client."""
    failures: list[str] = attrs.field(factory=list)
    """Impossible events: a loop that hangs, an exception that was not handled."""
    ended_at: float = 0.0
