"""Define the states of one batch and the events that lead from one to the next.

Algorithm:
`ARROWS` is the whole state machine. `advance` applies one event; a pair that is not in the table raises. The live
batch (`planning.draft`) and the journal's copy of it (`planning.replay`) both use it. ARCHITECTURE.md shows the same
table as a diagram, and `tests/house/test_state_chart.py` compares the two. `event_of` maps the error that ended an
attempt to an event: the transport says whether the request was sent, and the error class says the rest.

Invariants:
- Each arrow is one transaction of the journal. The intent is written before the first byte of the POST, and the end of
  the attempt is written before anything that depends on it.
- Law 3: no arrow leads from `in_flight` to `planned` after an attempt that may have been applied. Such a batch goes
  through `in_doubt`, and only the stated policy or the operator's decision plans it again.
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

STRUCTURAL = frozenset({405, 408, 411, 415, 421, 425, 426, 431})
"""4xx that speak of the request's form and not of its records: no record could be isolated."""


class State(StrEnum):
    """Where a batch is."""

    PLANNED = "planned"
    IN_FLIGHT = "in_flight"
    ACCEPTED = "accepted"
    IN_DOUBT = "in_doubt"
    HELD = "held"
    REFUSED = "refused"
    UNTRACKED = "untracked"
    STOPPED = "stopped"


class Event(StrEnum):
    """What happened to it."""

    INTENT = "intent"
    ACCEPTED = "accepted"
    NOT_SENT = "not_sent"
    THROTTLED = "throttled"
    UNAUTHORIZED = "unauthorized"
    REFUSED = "refused"
    UNTRACKED = "untracked"
    LOST = "lost"
    FATAL = "fatal"
    RESEND = "resend"
    GIVE_UP = "give_up"
    APPLIED = "applied"
    NOT_APPLIED = "not_applied"
    RESUME = "resume"


ARROWS: dict[tuple[State, Event], State] = {
    (State.PLANNED, Event.INTENT): State.IN_FLIGHT,
    (State.IN_FLIGHT, Event.ACCEPTED): State.ACCEPTED,
    (State.IN_FLIGHT, Event.NOT_SENT): State.PLANNED,
    (State.IN_FLIGHT, Event.THROTTLED): State.PLANNED,
    (State.IN_FLIGHT, Event.UNAUTHORIZED): State.PLANNED,
    (State.IN_FLIGHT, Event.REFUSED): State.REFUSED,
    (State.IN_FLIGHT, Event.UNTRACKED): State.UNTRACKED,
    (State.IN_FLIGHT, Event.LOST): State.IN_DOUBT,
    (State.IN_FLIGHT, Event.FATAL): State.STOPPED,
    (State.IN_DOUBT, Event.RESEND): State.PLANNED,
    (State.IN_DOUBT, Event.GIVE_UP): State.HELD,
    (State.HELD, Event.RESEND): State.PLANNED,
    (State.HELD, Event.NOT_APPLIED): State.PLANNED,
    (State.HELD, Event.APPLIED): State.UNTRACKED,
    (State.STOPPED, Event.RESUME): State.PLANNED,
}


TAKEN_IN = (Event.ACCEPTED, Event.UNTRACKED, Event.LOST, Event.REFUSED)
"""Ends of an attempt that the server looked at: after a lost answer, these make the record one that was sent again."""


@attrs.define(kw_only=True, eq=False)
class Attempts:
    """The attempts of a batch.

    `tries` counts all of them, `sends` those that may have reached the server, `doubts` those of them whose answer was
    lost; `resent` is set when it was sent again after a doubt.
    """

    tries: int = 0
    sends: int = 0
    doubts: int = 0
    resent: bool = False

    def count_end(self, event: Event) -> None:
        """One attempt ended so."""
        self.sends += event is not Event.NOT_SENT
        self.resent = self.resent or (self.doubts > 0 and event in TAKEN_IN)
        self.doubts += event is Event.LOST


def advance(state: State, event: Event) -> State:
    """The state after the event. A pair that is not in the table is a defect of the engine, never a state."""
    try:
        return ARROWS[state, event]
    except KeyError:
        raise AssertionError(f"a batch that is {state} cannot see {event}") from None


def event_of(error: TruecallerError) -> Event:
    """What an attempt that ended in this error means for its batch."""
    match error:
        case NotSent():
            return Event.NOT_SENT
        case RateLimited():
            return Event.THROTTLED
        case AuthenticationFailed():
            return Event.UNAUTHORIZED
        case ResponseLost() | ServerError():
            return Event.LOST
        case DecodeError():
            return Event.UNTRACKED
        case PushRejected():
            return Event.REFUSED
        case BadRequest() if error.status not in STRUCTURAL:
            return Event.REFUSED
        case _:
            return Event.FATAL
