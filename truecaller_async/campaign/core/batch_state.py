"""Define the states of one batch and the events that lead from one to the next.

Algorithm:
    `TRANSITIONS` is the whole state machine. `advance` applies one event and raises for a pair that is not in the
    table. The live batch (`outgoing_batch`) and the journal's copy of it (`campaign_state`) use it.
    ARCHITECTURE.md shows the same table as a diagram, and `tests/architecture/test_state_chart.py` compares the two.
    `event_of` maps the error of an attempt to an event.
Invariants:
    - A transition is in the journal before anything that depends on it: `attempt_started` before the first byte of the
      POST, the end of an attempt before its consequences. `resend` and `resume` are not written: the next
      `AttemptStarted` implies them (`campaign.core.campaign_state.IMPLIED_BY_ATTEMPT`).
    - Law 3: no transition leads from `in_flight` to `planned` after an attempt that may have been applied. Such a batch
      becomes `ambiguous`, and only the policy or the operator's decision plans it again.
    - There is no event for the end of a batch: in any state, a batch is dropped when each of its rows has a final
      outcome or belongs to a newer batch. So an accepted batch stays `accepted` until then.
    - A campaign of the simulation takes each transition (`tests/simulation/test_transitions.py`).
"""

from __future__ import annotations

from enum import StrEnum

import attrs

from truecaller_async.errors import (
    AuthenticationFailed,
    BadRequest,
    DecodeError,
    NotSent,
    PushRejected,
    RateLimited,
    ResponseLost,
    ServerError,
    TruecallerError,
)

REQUEST_FORM_STATUSES = frozenset({405, 408, 411, 415, 421, 425, 426, 431})
"""4xx statuses about the form of the request and not about its records: isolation would find no bad record."""


class BatchState(StrEnum):
    """Define the states of a batch. The values are written to the journal."""

    PLANNED = "planned"
    IN_FLIGHT = "in_flight"
    ACCEPTED = "accepted"
    AMBIGUOUS = "ambiguous"
    ABANDONED = "abandoned"
    REJECTED = "rejected"
    UNTRACKED = "untracked"
    STOPPED = "stopped"


class BatchEvent(StrEnum):
    """Define the events of a batch. The values are written to the journal."""

    ATTEMPT_STARTED = "attempt_started"
    ACCEPTED = "accepted"
    NOT_SENT = "not_sent"
    THROTTLED = "throttled"
    UNAUTHORIZED = "unauthorized"
    REJECTED = "rejected"
    UNTRACKED = "untracked"
    LOST = "lost"
    FATAL = "fatal"
    RESEND = "resend"
    ABANDON = "abandon"
    APPLIED = "applied"
    NOT_APPLIED = "not_applied"
    RESUME = "resume"


TRANSITIONS: dict[tuple[BatchState, BatchEvent], BatchState] = {
    (BatchState.PLANNED, BatchEvent.ATTEMPT_STARTED): BatchState.IN_FLIGHT,
    (BatchState.IN_FLIGHT, BatchEvent.ACCEPTED): BatchState.ACCEPTED,
    (BatchState.IN_FLIGHT, BatchEvent.NOT_SENT): BatchState.PLANNED,
    (BatchState.IN_FLIGHT, BatchEvent.THROTTLED): BatchState.PLANNED,
    (BatchState.IN_FLIGHT, BatchEvent.UNAUTHORIZED): BatchState.PLANNED,
    (BatchState.IN_FLIGHT, BatchEvent.REJECTED): BatchState.REJECTED,
    (BatchState.IN_FLIGHT, BatchEvent.UNTRACKED): BatchState.UNTRACKED,
    (BatchState.IN_FLIGHT, BatchEvent.LOST): BatchState.AMBIGUOUS,
    (BatchState.IN_FLIGHT, BatchEvent.FATAL): BatchState.STOPPED,
    (BatchState.AMBIGUOUS, BatchEvent.RESEND): BatchState.PLANNED,
    (BatchState.AMBIGUOUS, BatchEvent.ABANDON): BatchState.ABANDONED,
    (BatchState.ABANDONED, BatchEvent.RESEND): BatchState.PLANNED,
    (BatchState.ABANDONED, BatchEvent.NOT_APPLIED): BatchState.PLANNED,
    (BatchState.ABANDONED, BatchEvent.APPLIED): BatchState.UNTRACKED,
    (BatchState.STOPPED, BatchEvent.RESUME): BatchState.PLANNED,
}

PROCESSED_EVENTS = (BatchEvent.ACCEPTED, BatchEvent.UNTRACKED, BatchEvent.LOST, BatchEvent.REJECTED)
"""Ends of an attempt that the server may have processed: after a lost answer, they set `possibly_duplicated`."""


@attrs.define(kw_only=True, eq=False)
class AttemptCounts:
    """Count the attempts of a batch."""

    attempts: int = 0
    """Number of attempts."""
    maybe_received: int = 0
    """Number of attempts that may have reached the server."""
    lost_answers: int = 0
    """Number of attempts whose answer was lost."""
    possibly_duplicated: bool = False
    """Whether the batch was sent again after a lost answer."""

    def count_end(self, event: BatchEvent) -> None:
        """Count an attempt that ended with this event."""
        self.maybe_received += event is not BatchEvent.NOT_SENT
        self.possibly_duplicated = self.possibly_duplicated or (self.lost_answers > 0 and event in PROCESSED_EVENTS)
        self.lost_answers += event is BatchEvent.LOST


def advance(state: BatchState, event: BatchEvent) -> BatchState:
    """Return the state after the event. Raises `AssertionError` for a pair that is not in the table."""
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise AssertionError(f"the event {event} is not possible for a batch in state {state}") from None


def event_of(error: TruecallerError) -> BatchEvent:
    """Map the error of an attempt to the event of its batch."""
    match error:
        case NotSent():
            return BatchEvent.NOT_SENT
        case RateLimited():
            return BatchEvent.THROTTLED
        case AuthenticationFailed():
            return BatchEvent.UNAUTHORIZED
        case ResponseLost() | ServerError():
            return BatchEvent.LOST
        case DecodeError():
            return BatchEvent.UNTRACKED
        case PushRejected():
            return BatchEvent.REJECTED
        case BadRequest() if error.status not in REQUEST_FORM_STATUSES:
            return BatchEvent.REJECTED
        case _:
            return BatchEvent.FATAL
