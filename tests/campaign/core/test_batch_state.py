"""Test every state, event and transition of a batch."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import pytest

from truecaller_async import errors
from truecaller_async.campaign.core.batch_state import (
    REQUEST_FORM_STATUSES,
    TRANSITIONS,
    BatchEvent,
    BatchState,
    advance,
    event_of,
)
from truecaller_async.errors import TruecallerError

FINAL_STATES = {BatchState.ACCEPTED, BatchState.REJECTED, BatchState.UNTRACKED}

EXPECTED_EVENTS: dict[type[TruecallerError], BatchEvent] = {
    errors.TruecallerError: BatchEvent.FATAL,
    errors.ConfigError: BatchEvent.FATAL,
    errors.ValidationError: BatchEvent.FATAL,
    errors.APIStatusError: BatchEvent.FATAL,
    errors.BadRequest: BatchEvent.REJECTED,
    errors.AuthenticationFailed: BatchEvent.UNAUTHORIZED,
    errors.Forbidden: BatchEvent.FATAL,
    errors.NotFound: BatchEvent.FATAL,
    errors.RateLimited: BatchEvent.THROTTLED,
    errors.UnexpectedRedirect: BatchEvent.FATAL,
    errors.ServerError: BatchEvent.LOST,
    errors.TransportError: BatchEvent.FATAL,
    errors.NotSent: BatchEvent.NOT_SENT,
    errors.ResponseLost: BatchEvent.LOST,
    errors.DecodeError: BatchEvent.UNTRACKED,
    errors.PushRejected: BatchEvent.REJECTED,
    errors.NumberJobIncomplete: BatchEvent.FATAL,
    errors.SourceError: BatchEvent.FATAL,
    errors.SourceChanged: BatchEvent.FATAL,
    errors.JournalError: BatchEvent.FATAL,
    errors.JournalBusy: BatchEvent.FATAL,
    errors.TokenBudgetExhausted: BatchEvent.FATAL,
    errors.WaitTooLong: BatchEvent.FATAL,
    errors.DeadlineExceeded: BatchEvent.FATAL,
    errors.ClientClosed: BatchEvent.FATAL,
}


def error_classes(root: type[TruecallerError]) -> Iterator[type[TruecallerError]]:
    yield root
    for child in root.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from error_classes(child)


def build_error(kind: type[TruecallerError], status: int = 400) -> TruecallerError:
    """Create an error without its constructor, whose arguments differ by class."""
    error = kind.__new__(kind)
    error.status = status  # type: ignore[attr-defined]
    return error


@pytest.mark.parametrize(("state", "event"), list(product(BatchState, BatchEvent)))
def test_every_state_event_pair_is_a_transition_or_an_error(state: BatchState, event: BatchEvent) -> None:
    if (state, event) in TRANSITIONS:
        assert advance(state, event) is TRANSITIONS[state, event]
    else:
        with pytest.raises(AssertionError, match=f"event {event} is not possible for a batch in state {state}"):
            advance(state, event)


def test_possibly_applied_attempt_is_replanned_only_as_ambiguous() -> None:
    events_to_planned = {
        event
        for (state, event), after in TRANSITIONS.items()
        if after is BatchState.PLANNED and state is BatchState.IN_FLIGHT
    }
    assert events_to_planned == {BatchEvent.NOT_SENT, BatchEvent.THROTTLED, BatchEvent.UNAUTHORIZED}
    assert advance(BatchState.IN_FLIGHT, BatchEvent.LOST) is BatchState.AMBIGUOUS
    assert {state for (state, event), _ in TRANSITIONS.items() if event is BatchEvent.RESEND} == {
        BatchState.AMBIGUOUS,
        BatchState.ABANDONED,
    }


def test_final_states_are_final_and_every_other_state_leads_to_one() -> None:
    assert {state for state, _ in TRANSITIONS}.isdisjoint(FINAL_STATES)
    leading_to_final = set(FINAL_STATES)
    for _ in BatchState:
        leading_to_final |= {state for (state, _), after in TRANSITIONS.items() if after in leading_to_final}
    assert leading_to_final == set(BatchState)


def test_every_state_is_reachable() -> None:
    reached = {BatchState.PLANNED}
    for _ in BatchState:
        reached |= {after for (state, _), after in TRANSITIONS.items() if state in reached}
    assert reached == set(BatchState)


@pytest.mark.parametrize("kind", list(error_classes(TruecallerError)))
def test_every_error_has_a_defined_batch_event(kind: type[TruecallerError]) -> None:
    assert event_of(build_error(kind)) is EXPECTED_EVENTS[kind]


@pytest.mark.parametrize("kind", list(error_classes(TruecallerError)))
def test_every_error_event_is_a_transition_out_of_flight(kind: type[TruecallerError]) -> None:
    assert (BatchState.IN_FLIGHT, event_of(build_error(kind))) in TRANSITIONS


@pytest.mark.parametrize("kind", list(error_classes(errors.TransportError)))
def test_transport_failure_is_requeued_only_if_nothing_was_sent(kind: type[TruecallerError]) -> None:
    is_requeued = TRANSITIONS[BatchState.IN_FLIGHT, event_of(build_error(kind))] is BatchState.PLANNED
    assert not is_requeued or kind.sent == "no"


@pytest.mark.parametrize("status", sorted(REQUEST_FORM_STATUSES))
def test_4xx_about_the_request_form_isolates_nothing(status: int) -> None:
    assert event_of(errors.BadRequest(status)) is BatchEvent.FATAL
