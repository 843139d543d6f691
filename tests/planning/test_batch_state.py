"""The state chart of a batch, walked whole."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import pytest

from truecaller_async import errors
from truecaller_async.errors import TruecallerError
from truecaller_async.planning.batch_state import ARROWS, STRUCTURAL, Event, State, advance, event_of

ENDS = {State.ACCEPTED, State.REFUSED, State.UNTRACKED}

DECIDED: dict[type[TruecallerError], Event] = {
    errors.TruecallerError: Event.FATAL,
    errors.ConfigError: Event.FATAL,
    errors.ValidationError: Event.FATAL,
    errors.APIStatusError: Event.FATAL,
    errors.BadRequest: Event.REFUSED,
    errors.AuthenticationFailed: Event.UNAUTHORIZED,
    errors.Forbidden: Event.FATAL,
    errors.NotFound: Event.FATAL,
    errors.RateLimited: Event.THROTTLED,
    errors.UnexpectedRedirect: Event.FATAL,
    errors.ServerError: Event.LOST,
    errors.TransportError: Event.FATAL,
    errors.NotSent: Event.NOT_SENT,
    errors.ResponseLost: Event.LOST,
    errors.DecodeError: Event.UNTRACKED,
    errors.PushRejected: Event.REFUSED,
    errors.NumberJobIncomplete: Event.FATAL,
    errors.SourceError: Event.FATAL,
    errors.SourceChanged: Event.FATAL,
    errors.JournalError: Event.FATAL,
    errors.JournalBusy: Event.FATAL,
    errors.TokenBudgetExhausted: Event.FATAL,
    errors.WaitTooLong: Event.FATAL,
    errors.DeadlineExceeded: Event.FATAL,
    errors.ClientClosed: Event.FATAL,
}


def family(root: type[TruecallerError]) -> Iterator[type[TruecallerError]]:
    yield root
    for child in root.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from family(child)


def made(kind: type[TruecallerError], status: int = 400) -> TruecallerError:
    """An error of the class as it comes from a request, without going through its constructor."""
    error = kind.__new__(kind)
    error.status = status  # type: ignore[attr-defined]
    return error


@pytest.mark.parametrize(("state", "event"), list(product(State, Event)))
def test_every_state_event_pair_is_a_transition_or_an_error(state: State, event: Event) -> None:
    if (state, event) in ARROWS:
        assert advance(state, event) is ARROWS[state, event]
    else:
        with pytest.raises(AssertionError, match=f"{state} cannot see {event}"):
            advance(state, event)


def test_possibly_applied_attempt_is_replanned_only_as_ambiguous() -> None:
    back = {event for (state, event), after in ARROWS.items() if after is State.PLANNED and state is State.IN_FLIGHT}
    assert back == {Event.NOT_SENT, Event.THROTTLED, Event.UNAUTHORIZED}
    assert advance(State.IN_FLIGHT, Event.LOST) is State.IN_DOUBT
    assert {state for (state, event), _ in ARROWS.items() if event is Event.RESEND} == {State.IN_DOUBT, State.HELD}


def test_final_states_are_final_and_every_other_state_leads_to_one() -> None:
    assert {state for state, _ in ARROWS}.isdisjoint(ENDS)
    reaching = set(ENDS)
    for _ in State:
        reaching |= {state for (state, _), after in ARROWS.items() if after in reaching}
    assert reaching == set(State)


def test_every_state_is_reachable() -> None:
    reached = {State.PLANNED}
    for _ in State:
        reached |= {after for (state, _), after in ARROWS.items() if state in reached}
    assert reached == set(State)


@pytest.mark.parametrize("kind", list(family(TruecallerError)))
def test_every_error_has_a_defined_batch_event(kind: type[TruecallerError]) -> None:
    assert event_of(made(kind)) is DECIDED[kind]


@pytest.mark.parametrize("kind", list(family(TruecallerError)))
def test_every_error_event_is_a_transition_out_of_flight(kind: type[TruecallerError]) -> None:
    assert (State.IN_FLIGHT, event_of(made(kind))) in ARROWS


@pytest.mark.parametrize("kind", list(family(errors.TransportError)))
def test_transport_failure_is_requeued_only_if_nothing_was_sent(kind: type[TruecallerError]) -> None:
    goes_back = ARROWS[State.IN_FLIGHT, event_of(made(kind))] is State.PLANNED
    assert not goes_back or kind.sent == "no"


@pytest.mark.parametrize("status", sorted(STRUCTURAL))
def test_4xx_about_the_request_form_isolates_nothing(status: int) -> None:
    assert event_of(errors.BadRequest(status)) is Event.FATAL
