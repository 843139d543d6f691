"""Count the figures of one run that no later run needs: requests, retries, reasons, rates, cost.

Purpose:
    Outcomes, batches and sent records are read from `CampaignState`. This module holds what is of the present run only
    and what the clock decides.
Invariants:
    - At most 50 different reasons are counted, for the progress display; the others are counted together. A row that
      breaks a rule is counted by its first bad field.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from typing import Protocol

import attrs

from truecaller_async.campaign.core.batch import CampaignBatch
from truecaller_async.campaign.core.batch_state import BatchEvent, BatchState
from truecaller_async.campaign.core.campaign_state import CampaignState
from truecaller_async.models import Outcome, RunCost
from truecaller_async.models.journal_entries import (
    AttemptEnded,
    AttemptStarted,
    BatchReleased,
    CostReported,
    JournalEntry,
    RowsSettled,
)
from truecaller_async.options import Limits
from truecaller_async.resilience.rate_law import calls_per_second

REASONS_MAX = 50
OTHER_REASONS = "other reasons"
OUTCOMES_WITHOUT_REASON = frozenset({Outcome.DELIVERED, Outcome.DUPLICATE})
SENT_OUTCOMES = (Outcome.DELIVERED, Outcome.FAILED, Outcome.UNKNOWN)

RATE_WINDOW_SECONDS = 10.0
"""Length of the window for the current rate of a run."""
RATE_MIN_SECONDS = 5.0
"""Shortest time over which the current rate is computed."""
COST_INTERVAL_SECONDS = 1.0
"""Time between two entries about the cost of the run in the journal."""


class TokenRequests(Protocol):
    """Counts of the token requests of the whole client."""

    @property
    def minted(self) -> int:
        """Return the number of tokens that were created."""
        ...

    @property
    def mints_throttled(self) -> int:
        """Return the number of token requests that were answered with 429."""
        ...


@attrs.frozen
class TokenRequestCounts:
    """Counts of token requests: sent, answered with a token, and answered with 429."""

    requests: int = 0
    succeeded: int = 0
    throttled: int = 0

    @classmethod
    def of(cls, requests: Counter[str], pool: TokenRequests) -> TokenRequestCounts:
        """Return the counts of the whole client up to now."""
        return cls(requests["mint"], pool.minted, pool.mints_throttled)

    def since(self, before: TokenRequestCounts) -> TokenRequestCounts:
        """Return the difference to the earlier counts `before`."""
        return TokenRequestCounts(
            self.requests - before.requests, self.succeeded - before.succeeded, self.throttled - before.throttled
        )


class RunProgress:
    """Figures of one run. Times are seconds of the event loop's clock.

    Args:
        state: The state of the campaign.
        token_counts: Returns the counts of token requests of the whole client.
        now: Returns the time.
    """

    def __init__(
        self, state: CampaignState, token_counts: Callable[[], TokenRequestCounts], now: Callable[[], float]
    ) -> None:
        self._state = state
        self._token_counts = token_counts
        self._token_counts_before = token_counts()
        self._now = now
        self.read = state.position.row
        """Rows read from the source, in all runs."""
        self.reasons: Counter[str] = Counter()
        """Rows of this run that were not delivered, by reason."""
        self.requests: Counter[str] = Counter()
        """Requests of this run by call, without token requests."""
        self.retries = 0
        """Requests that repeated an earlier one."""
        self.throttled = 0
        """Answers with status 429."""
        self.empty_polls = 0
        """Polls that found no new final status."""
        self.started_at = now()
        """Time of the start of this run."""
        self.ended_at: float | None = None
        """Time of the end of this run."""
        self.last_answer_at = self.started_at
        """Time of the latest end of a request."""
        self.peak_tokens = 0
        """Largest number of live tokens so far."""
        self.server_reached = False
        """Whether a request of a batch reached the server in this run."""
        self.swept: Counter[Outcome] = Counter()
        """Rows that got their result at the very end, without an entry, because of a defect."""
        self._batches_before = state.accepted
        self._first_sent_at: float | None = None
        self._last_sent_at: float | None = None
        self._recently_sent: deque[tuple[float, int]] = deque()
        self._next_cost_entry_at = self.started_at + COST_INTERVAL_SECONDS

    @property
    def resolved(self) -> int:
        """Return the number of rows that have their result, in all runs."""
        return self._state.resolved + self.swept.total()

    @property
    def open(self) -> int:
        """Return the number of rows read that have no result yet."""
        return self.read - self.resolved

    @property
    def elapsed(self) -> float:
        """Return the duration of this run in seconds."""
        return (self._now() if self.ended_at is None else self.ended_at) - self.started_at

    def outcomes(self) -> dict[str, int]:
        """Return the number of results for each outcome, including zeros."""
        final, provisional = self._state.outcomes, self._state.run.provisional
        return {str(one): final[one] + provisional[one] + self.swept[one] for one in Outcome}

    def sent_and_resolved(self) -> int:
        """Return the number of records that were sent and have their outcome."""
        outcomes = self.outcomes()
        return sum(outcomes[outcome] for outcome in SENT_OUTCOMES)

    def rows_in_flight(self) -> int:
        """Return the number of records in requests that have no answer yet."""
        return sum(one.open_count for one in self._state.batches.values() if one.state is BatchState.IN_FLIGHT)

    def rows_pending(self) -> int:
        """Return the number of records that were accepted and have no outcome yet."""
        accepted = (one for one in self._state.batches.values() if one.state is BatchState.ACCEPTED)
        return sum(one.open_count for one in accepted if not one.released)

    def count(self, entry: JournalEntry) -> None:
        """Count an entry that was applied."""
        match entry:
            case RowsSettled() | BatchReleased():
                self._count_reason(entry)
            case AttemptStarted(seq):
                batch = self._state.batches[seq]
                self.requests[batch.call] += 1
                self.retries += _is_repeated(batch)
                self._first_sent_at = self._now() if self._first_sent_at is None else self._first_sent_at
            case AttemptEnded(event=event):
                self.throttled += event == BatchEvent.THROTTLED
                self.server_reached = self.server_reached or event != BatchEvent.NOT_SENT
                if event == BatchEvent.ACCEPTED:
                    self._count_sent(self._state.batches[entry.seq].open_count)

    def uncount_attempt(self, batch: CampaignBatch) -> None:
        """Take back the latest attempt of a batch: no request was made."""
        self.requests[batch.call] -= 1
        self.retries -= _is_repeated(batch)

    def count_poll(self, *, is_retry: bool) -> None:
        """Count a status request."""
        self.requests["status"] += 1
        self.retries += is_retry

    def token_requests(self) -> TokenRequestCounts:
        """Return the counts of token requests since this run started."""
        return self._token_counts().since(self._token_counts_before)

    def cost(self) -> RunCost:
        """Return the cost of this run up to now."""
        tokens = self.token_requests()
        return RunCost(
            dict(self.requests) | {"mint": tokens.requests},
            self.retries,
            self.throttled + tokens.throttled,
            tokens.succeeded,
            self.elapsed,
            self.empty_polls,
        )

    def cost_entry(self) -> CostReported:
        """Return the cost of this run as an entry."""
        cost = self.cost()
        return CostReported(cost.requests, cost.retries, cost.throttled, cost.tokens_minted, cost.elapsed)

    def cost_entry_if_due(self) -> CostReported | None:
        """Return the cost of this run if `COST_INTERVAL_SECONDS` have passed since the last time."""
        now = self._now()
        if now < self._next_cost_entry_at:
            return None
        self._next_cost_entry_at = now + COST_INTERVAL_SECONDS
        return self.cost_entry()

    def rate(self) -> float:
        """Return the records accepted per second in the rate window.

        At least 5 seconds are assumed: the burst that a new token may send says nothing about the rate.
        """
        if not self._recently_sent or self._first_sent_at is None:
            return 0.0
        now = self._now()
        since = max(self._first_sent_at, now - RATE_WINDOW_SECONDS)
        return sum(count for at, count in self._recently_sent if at >= since) / max(now - since, RATE_MIN_SECONDS)

    def utilisation(self, limits: Limits) -> float | None:
        """Return the batches sent, as a fraction of what all tokens were permitted to send in the same time."""
        permitted = calls_per_second(limits, "submit") * self.peak_tokens
        batches = self._state.accepted - self._batches_before
        if self._first_sent_at is None or self._last_sent_at is None or batches <= 2 * self.peak_tokens:
            return None
        seconds = self._last_sent_at - self._first_sent_at
        if seconds <= 0 or permitted in (0.0, float("inf")):
            return None
        return min(1.0, (batches - self.peak_tokens) / (seconds * permitted))

    def _count_sent(self, records: int) -> None:
        now = self._last_sent_at = self._now()
        self._recently_sent.append((now, records))
        while self._recently_sent[0][0] < now - RATE_WINDOW_SECONDS:
            self._recently_sent.popleft()

    def _count_reason(self, entry: RowsSettled | BatchReleased) -> None:
        if entry.outcome in OUTCOMES_WITHOUT_REASON:
            return
        rows = len(entry.rows) if isinstance(entry, RowsSettled) else self._state.batches[entry.seq].open_count
        field = entry.field if isinstance(entry, RowsSettled) else None
        # Invalid rows are counted by field: their reasons quote values, so that nearly all of them differ.
        bad_row = entry.outcome is Outcome.INVALID and field is not None
        reason = f"invalid {field}" if bad_row else (entry.reason or str(entry.outcome))
        known = reason in self.reasons or len(self.reasons) < REASONS_MAX
        self.reasons[reason if known else OTHER_REASONS] += rows


def _is_repeated(batch: CampaignBatch) -> bool:
    """Return whether the latest attempt repeats a request. Before it, a claim may have been undone."""
    return batch.attempts > 1 and (batch.is_retry or batch.maybe_received > 0)
