"""The account of records: law 2 in one class.

Every record read is counted once on the way in and once, with its outcome, on the way out; a campaign ends when both
sides are equal and the source is done. `open` is what is still owed. Failures are counted by reason for the progress
display, up to a bounded number of different reasons; a bad row counts under its first bad field.
"""

from __future__ import annotations

from collections import Counter

from truecaller_async.models import BatchResults, Outcome, RecordResult, ResultList
from truecaller_async.planning.campaign_state import CampaignState

REASONS_MAX = 50
OTHER_REASONS = "other reasons"
OUTCOMES_WITHOUT_REASON = frozenset({Outcome.DELIVERED, Outcome.DUPLICATE})
SENT_OUTCOMES = (Outcome.DELIVERED, Outcome.FAILED, Outcome.UNKNOWN)


class Counters:
    """Counts of a campaign, from where it stands; requests, retries, answers 429 and reasons are those of this run."""

    def __init__(self, state: CampaignState) -> None:
        self.read = state.position.row
        self.outcomes: Counter[Outcome] = state.outcomes.copy()
        self.reasons: Counter[str] = Counter()
        self.requests: Counter[str] = Counter()
        self.batches = state.accepted
        self.sent = state.sent
        self.retries = 0
        self.throttled = 0
        self.empty_polls = 0
        self.possibly_duplicated = state.possibly_duplicated

    @property
    def resolved(self) -> int:
        """Records that have their outcome."""
        return self.outcomes.total()

    @property
    def sent_and_resolved(self) -> int:
        """Records that were sent and have their outcome."""
        return sum(self.outcomes[outcome] for outcome in SENT_OUTCOMES)

    @property
    def open(self) -> int:
        """Records read that have no outcome yet."""
        return self.read - self.resolved

    def count(self, results: ResultList) -> None:
        """Count results on their way out."""
        if isinstance(results, BatchResults):
            outcomes = results.outcomes
            self.possibly_duplicated += len(results) * results.possibly_duplicated
            if results.is_plain:
                self.outcomes[Outcome.DELIVERED] += len(results)
                return
        else:
            outcomes = [result.outcome for result in results]
            self.possibly_duplicated += [result.possibly_duplicated for result in results].count(True)
        self.outcomes.update(outcomes)
        if not OUTCOMES_WITHOUT_REASON.issuperset(outcomes):
            for result in results:
                if result.outcome not in OUTCOMES_WITHOUT_REASON:
                    self._count_reason(result)

    def _count_reason(self, result: RecordResult) -> None:
        """Bad rows are counted by field: their own reasons quote values, so that nearly each would be another."""
        bad_row = result.outcome is Outcome.INVALID and result.field is not None
        reason = f"invalid {result.field}" if bad_row else (result.reason or str(result.outcome))
        known = reason in self.reasons or len(self.reasons) < REASONS_MAX
        self.reasons[reason if known else OTHER_REASONS] += 1
