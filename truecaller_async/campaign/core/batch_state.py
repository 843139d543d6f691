"""Define the states of one batch and the events that lead from one to the next.

Algorithm:
    `TRANSITIONS` is the whole state machine. `CampaignState.apply` is the only code that uses it: an entry names a
    batch and an event, and the table gives the next state. ARCHITECTURE.md shows the same table as a diagram.
    `event_of` maps the error of an attempt to an event.
Invariants:
    - An attempt ends only by `AttemptEnded`. After a crash that is `lost`.
    - Law 3: after an attempt that may have been applied, a batch is `ambiguous` or `abandoned`. `attempt_started` leads
      from there only if the policy of the run allows it (`CampaignState` checks it), or if the operator decided.
    - An attempt that was certainly not processed (not sent, 429, 401) leads back to the state before it. So a batch
      whose earlier answer was lost stays ambiguous.
    - There is no event for the end of a batch: in any state but `in_flight`, a batch is forgotten when each of its rows
      has a final outcome or belongs to a newer batch. So an accepted batch stays `accepted` until then.
    - A campaign of the simulation takes each transition (`tests/simulation/test_transitions.py`).
"""

from __future__ import annotations

from enum import StrEnum

from truecaller_async.errors import (
    AuthenticationFailed,
    BadRequest,
    DecodeError,
    Forbidden,
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
    """Define the events of a batch. The values of the ends of an attempt are written to the journal."""

    ATTEMPT_STARTED = "attempt_started"
    ACCEPTED = "accepted"
    NOT_SENT = "not_sent"
    THROTTLED = "throttled"
    UNAUTHORIZED = "unauthorized"
    REJECTED = "rejected"
    UNTRACKED = "untracked"
    LOST = "lost"
    FATAL = "fatal"
    CALL_FORBIDDEN = "call_forbidden"
    ABANDON = "abandon"
    APPLIED = "applied"
    NOT_APPLIED = "not_applied"
    RESUME = "resume"


SENT_STATES = (BatchState.PLANNED, BatchState.AMBIGUOUS, BatchState.ABANDONED)
"""States from which an attempt may start."""

TRANSITIONS: dict[tuple[BatchState, BatchEvent], tuple[BatchState, ...]] = {
    (BatchState.PLANNED, BatchEvent.ATTEMPT_STARTED): (BatchState.IN_FLIGHT,),
    (BatchState.AMBIGUOUS, BatchEvent.ATTEMPT_STARTED): (BatchState.IN_FLIGHT,),
    (BatchState.ABANDONED, BatchEvent.ATTEMPT_STARTED): (BatchState.IN_FLIGHT,),
    (BatchState.IN_FLIGHT, BatchEvent.ACCEPTED): (BatchState.ACCEPTED,),
    (BatchState.IN_FLIGHT, BatchEvent.NOT_SENT): SENT_STATES,
    (BatchState.IN_FLIGHT, BatchEvent.THROTTLED): SENT_STATES,
    (BatchState.IN_FLIGHT, BatchEvent.UNAUTHORIZED): SENT_STATES,
    (BatchState.IN_FLIGHT, BatchEvent.REJECTED): (BatchState.REJECTED,),
    (BatchState.IN_FLIGHT, BatchEvent.UNTRACKED): (BatchState.UNTRACKED,),
    (BatchState.IN_FLIGHT, BatchEvent.LOST): (BatchState.AMBIGUOUS,),
    (BatchState.IN_FLIGHT, BatchEvent.FATAL): (BatchState.STOPPED,),
    (BatchState.IN_FLIGHT, BatchEvent.CALL_FORBIDDEN): (BatchState.STOPPED,),
    (BatchState.AMBIGUOUS, BatchEvent.ABANDON): (BatchState.ABANDONED,),
    (BatchState.ABANDONED, BatchEvent.NOT_APPLIED): (BatchState.PLANNED,),
    (BatchState.ABANDONED, BatchEvent.APPLIED): (BatchState.UNTRACKED,),
    (BatchState.STOPPED, BatchEvent.RESUME): (BatchState.PLANNED,),
}
"""Next state for each state and event; several if it is the state from which the attempt was started."""

ATTEMPT_ENDS = frozenset(event for state, event in TRANSITIONS if state is BatchState.IN_FLIGHT)
"""Events that end an attempt."""

PROCESSED_EVENTS = frozenset({BatchEvent.ACCEPTED, BatchEvent.UNTRACKED, BatchEvent.LOST, BatchEvent.REJECTED})
"""Ends of an attempt that the server may have processed: after a lost answer, they set `possibly_duplicated`."""

FAILURE_EVENTS = frozenset({BatchEvent.NOT_SENT, BatchEvent.LOST})
"""Failures of the server or the connection: the next attempt uses the retry budget."""


def next_state(state: BatchState, event: BatchEvent, sent_from: BatchState | None = None) -> BatchState | None:
    """Return the state after the event, None if the event is not possible.

    Args:
        state: The present state.
        event: The event.
        sent_from: The state from which the attempt in flight was started.
    """
    after = TRANSITIONS.get((state, event))
    if after is None or len(after) == 1:
        return None if after is None else after[0]
    return sent_from if sent_from in after else BatchState.PLANNED


def event_of(error: TruecallerError, call: str = "submit") -> BatchEvent:
    """Map the error of an attempt to the event of its batch.

    Args:
        error: The error.
        call: The call that sent the batch: "submit" or "push".
    """
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
        case Forbidden() if call == "push":
            return BatchEvent.CALL_FORBIDDEN
        case _:
            return BatchEvent.FATAL
