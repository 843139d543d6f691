"""What may be done with a batch that may have been applied without anybody knowing: law 3 in one place.

A batch comes into doubt when its answer is lost, or when the process ends before the answer. Then the caller's stated
policy decides, up to its number of resends. What that leaves is let go: its rows are unknown as it stands, and later
rows of the same pairs may be sent. Such a batch goes again only if a later run has another policy, or if the operator
says that it was not applied. The operator's word does not make the lost answer a known one: what is sent after it is
flagged all the same.

A resend that fails as well is one of few, and an outage would use them all up in its first seconds. So a batch in doubt
waits until the server answers others; where there are no others, some seconds the first time and a minute from then on.
While the breaker is open it is the last to be a probe: polls are, and batches that were never sent. But it never waits
beyond the half of what is left of its windows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from truecaller_async.models import AttemptEnded, Entry, GivenUp, Judged, Outcome, Settled
from truecaller_async.options import CampaignOptions
from truecaller_async.planning.batch_state import Attempts, Event, State
from truecaller_async.planning.draft import Draft
from truecaller_async.planning.replay import OpenBatch
from truecaller_async.planning.restraint import Restraint

CRASHED = "the process ended before the answer came"
TAKEN = "taken by the server, by the operator's word; its batch id is not known"
MAY_BE_JUDGED = frozenset({State.HELD, State.IN_DOUBT, State.IN_FLIGHT})
"""States in which the operator may know more than we; in flight only when no process works on the campaign."""


FIRST_PATIENCE = 5.0
PATIENCE = 60.0
PATIENCE_IN_AN_OUTAGE = 600.0


def resend_due(draft: Draft, restraint: Restraint, window_left: float, *, alone: bool) -> float:
    """When to send a batch in doubt again, on the clock of `draft.lost_at`.

    `window_left`: seconds that its windows have. `alone`: there is no poll by which to see whether the server answers.
    """
    if restraint.is_answered:
        return draft.lost_at
    patience = FIRST_PATIENCE if draft.doubts == 1 else PATIENCE
    if restraint.is_open:
        patience = PATIENCE_IN_AN_OUTAGE if alone else math.inf
    return draft.lost_at + min(patience, max(window_left, 0.0) / 2)


def may_resend(attempts: Attempts, options: CampaignOptions) -> bool:
    """Whether the policy has a batch in doubt sent again."""
    return options.on_ambiguous == "resend" and attempts.doubts <= options.max_resends


def may_go_again(batch: OpenBatch, options: CampaignOptions) -> bool:
    """Whether a batch that was let go is sent again: the operator says so, or the policy is another one now."""
    if not batch.let_go:
        return False
    return batch.state is State.PLANNED or (batch.state is State.HELD and may_resend(batch, options))


def ended_by_crash(batch: OpenBatch, at: float) -> AttemptEnded:
    """The end of an attempt that was under way when its process ended. `at`: wall-clock seconds."""
    return AttemptEnded(batch.seq, batch.tries, Event.LOST, at, detail=CRASHED)


def judgement(batch: OpenBatch, applied: bool, at: float) -> Iterator[Entry]:
    """What the operator's word means, entry by entry: take each before asking for the next, which follows from it.

    The batch is in one of the states `MAY_BE_JUDGED`. `at`: wall-clock seconds.
    """
    if batch.state is State.IN_FLIGHT:
        yield ended_by_crash(batch, at)
    if batch.state is not State.HELD:
        yield GivenUp(batch.seq)
    yield Judged(batch.seq, applied, at)
    if applied:
        yield Settled(tuple(batch.open), Outcome.UNKNOWN, TAKEN, batch.seq, attempts=batch.sends, twice=batch.resent)
