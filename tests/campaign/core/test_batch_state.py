"""Test every state, event and transition of a batch."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import pytest

from truecaller_async import errors
from truecaller_async.campaign.core.batch_state import (
    PROCESSED_EVENTS,
    REQUEST_FORM_STATUSES,
    SENT_STATES,
    TRANSITIONS,
    BatchEvent,
    BatchState,
    event_of,
    next_state,
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
def test_state_and_event_outside_the_table_have_no_next_state(state: BatchState, event: BatchEvent) -> None:
    assert (next_state(state, event) in TRANSITIONS.get((state, event), ())) is ((state, event) in TRANSITIONS)
    if (state, event) not in TRANSITIONS:
        assert next_state(state, event) is None


@pytest.mark.parametrize("event", [BatchEvent.NOT_SENT, BatchEvent.THROTTLED, BatchEvent.UNAUTHORIZED])
@pytest.mark.parametrize("sent_from", [*SENT_STATES, None])
def test_unprocessed_attempt_leads_back_to_where_it_began(event: BatchEvent, sent_from: BatchState | None) -> None:
    assert next_state(BatchState.IN_FLIGHT, event, sent_from) is (sent_from or BatchState.PLANNED)


def test_only_unprocessed_ends_have_several_next_states() -> None:
    several = {event for (_, event), after in TRANSITIONS.items() if len(after) > 1}
    assert several == {BatchEvent.NOT_SENT, BatchEvent.THROTTLED, BatchEvent.UNAUTHORIZED}
    assert several.isdisjoint(PROCESSED_EVENTS)


def test_possibly_processed_attempt_never_leads_to_planned() -> None:
    for event in PROCESSED_EVENTS:
        assert BatchState.PLANNED not in TRANSITIONS[BatchState.IN_FLIGHT, event]
    assert next_state(BatchState.IN_FLIGHT, BatchEvent.LOST) is BatchState.AMBIGUOUS


def test_attempt_starts_only_from_the_sent_states() -> None:
    assert {state for state, event in TRANSITIONS if event is BatchEvent.ATTEMPT_STARTED} == set(SENT_STATES)


def test_final_states_are_final_and_every_other_state_leads_to_one() -> None:
    assert {state for state, _ in TRANSITIONS}.isdisjoint(FINAL_STATES)
    leading_to_final = set(FINAL_STATES)
    for _ in BatchState:
        leading_to_final |= {
            state for (state, _), after in TRANSITIONS.items() if not leading_to_final.isdisjoint(after)
        }
    assert leading_to_final == set(BatchState)


def test_every_state_is_reachable() -> None:
    reached = {BatchState.PLANNED}
    for _ in BatchState:
        reached |= {one for (state, _), after in TRANSITIONS.items() if state in reached for one in after}
    assert reached == set(BatchState)


@pytest.mark.parametrize("kind", list(error_classes(TruecallerError)))
def test_every_error_has_a_defined_batch_event(kind: type[TruecallerError]) -> None:
    assert event_of(build_error(kind)) is EXPECTED_EVENTS[kind]


@pytest.mark.parametrize("kind", list(error_classes(TruecallerError)))
def test_every_error_event_is_a_transition_out_of_flight(kind: type[TruecallerError]) -> None:
    assert (BatchState.IN_FLIGHT, event_of(build_error(kind))) in TRANSITIONS


@pytest.mark.parametrize("kind", list(error_classes(errors.TransportError)))
def test_transport_failure_is_requeued_only_if_nothing_was_sent(kind: type[TruecallerError]) -> None:
    is_requeued = BatchState.PLANNED in TRANSITIONS[BatchState.IN_FLIGHT, event_of(build_error(kind))]
    assert not is_requeued or kind.sent == "no"


@pytest.mark.parametrize("status", sorted(REQUEST_FORM_STATUSES))
def test_4xx_about_the_request_form_isolates_nothing(status: int) -> None:
    assert event_of(errors.BadRequest(status)) is BatchEvent.FATAL


def test_refused_single_push_stops_only_the_use_of_that_call() -> None:
    assert event_of(build_error(errors.Forbidden), "push") is BatchEvent.CALL_FORBIDDEN
    assert event_of(build_error(errors.Forbidden), "submit") is BatchEvent.FATAL
