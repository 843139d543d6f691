"""Define the states of one batch and the events that lead from one to the next.

Algorithm:
`ARROWS` is the whole state machine. `advance` applies one event; a pair that is not in the table raises. The live
batch (`planning.outgoing_batch`) and the journal's copy of it (`planning.campaign_state`) both use it. ARCHITECTURE.md
shows the same table as a diagram, and `tests/architecture/test_state_chart.py` compares the two. `event_of` maps the
error that ended an attempt to an event: the transport says whether the request was sent, and the error class says the
rest.

Invariants:
- Each arrow is one transaction of the journal. The intent is written before the first byte of the POST, and the end of
  the attempt is written before anything that depends on it.
- Law 3: no arrow leads from `in_flight` to `planned` after an attempt that may have been applied. Such a batch goes
  through `ambiguous`, and only the stated policy or the operator's decision plans it again.
- The end of a batch is no event: in any state, a batch is dropped when each of its rows has a final outcome or belongs
  to a newer batch. So an accepted batch stays `accepted` until then.
- Each arrow is taken by a campaign of the simulation (`tests/simulation/test_transitions.py`).
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
"""4xx that speak of the request's form and not of its records: no record could be isolated."""


class BatchState(StrEnum):
    """Where a batch is."""

    PLANNED = "planned"
    IN_FLIGHT = "in_flight"
    ACCEPTED = "accepted"
    AMBIGUOUS = "ambiguous"
    ABANDONED = "abandoned"
    REJECTED = "rejected"
    UNTRACKED = "untracked"
    STOPPED = "stopped"


class BatchEvent(StrEnum):
    """What happened to it."""

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
"""Ends of an attempt that the server looked at: after a lost answer, these make the record one that was sent again."""


@attrs.define(kw_only=True, eq=False)
class AttemptCounts:
    """The attempts of a batch.

    `tries` counts all of them, `sends` those that may have reached the server, `doubts` those of them whose answer was
    lost; `resent` is set when it was sent again after a doubt.
    """

    attempts: int = 0
    maybe_received: int = 0
    lost_answers: int = 0
    possibly_duplicated: bool = False

    def count_end(self, event: BatchEvent) -> None:
        """One attempt ended so."""
        self.maybe_received += event is not BatchEvent.NOT_SENT
        self.possibly_duplicated = self.possibly_duplicated or (self.lost_answers > 0 and event in PROCESSED_EVENTS)
        self.lost_answers += event is BatchEvent.LOST


def advance(state: BatchState, event: BatchEvent) -> BatchState:
    """The state after the event. A pair that is not in the table is a defect of the engine, never a state."""
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise AssertionError(f"a batch that is {state} cannot see {event}") from None


def event_of(error: TruecallerError) -> BatchEvent:
    """What an attempt that ended in this error means for its batch."""
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
