"""Count the records of a campaign and their outcomes (law 2).

Invariants:
    - Every record is counted once when it is read and once, with its outcome, when its result is delivered. A campaign
      ends when both counts are equal and the source is exhausted.
    - At most 50 different reasons are counted, for the progress display; the others are counted together. A row that
      breaks a rule is counted by its first bad field.
"""

from __future__ import annotations

from collections import Counter

from truecaller_async.campaign.core.campaign_state import CampaignState
from truecaller_async.models import BatchResults, Outcome, RecordResult, ResultList

REASONS_MAX = 50
OTHER_REASONS = "other reasons"
OUTCOMES_WITHOUT_REASON = frozenset({Outcome.DELIVERED, Outcome.DUPLICATE})
SENT_OUTCOMES = (Outcome.DELIVERED, Outcome.FAILED, Outcome.UNKNOWN)


class Counters:
    """Count the records of a campaign.

    The counts continue those of earlier runs, except reasons, requests, retries, answers 429 and empty polls: these
    are those of the current run.
    """

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
        """Return the number of records that have their outcome."""
        return self.outcomes.total()

    @property
    def sent_and_resolved(self) -> int:
        """Return the number of records that were sent and have their outcome."""
        return sum(self.outcomes[outcome] for outcome in SENT_OUTCOMES)

    @property
    def open(self) -> int:
        """Return the number of records read that have no outcome yet."""
        return self.read - self.resolved

    def count(self, results: ResultList) -> None:
        """Count results that are delivered to the reader."""
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
        # Invalid rows are counted by field: their reasons quote values, so that nearly all of them differ.
        bad_row = result.outcome is Outcome.INVALID and result.field is not None
        reason = f"invalid {result.field}" if bad_row else (result.reason or str(result.outcome))
        known = reason in self.reasons or len(self.reasons) < REASONS_MAX
        self.reasons[reason if known else OTHER_REASONS] += 1
