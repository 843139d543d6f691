from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from truecaller_async.errors import DecodeError
from truecaller_async.webhooks import CallMeBack, FeedbackResponse, UnknownEvent, UserFeedback, parse_event

from .servers import sample

ACCOUNT = "91c173bb-28d8-4030-9722-8663ff9589f3"


def at(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[misc, arg-type]


def call_me_back(**payload: Any) -> CallMeBack:
    event = parse_event(json.dumps({"event_id": "e", "event_type": "cmb", "cmb_payload": payload}))
    assert isinstance(event, CallMeBack)
    return event


def test_slot_picker_sample_is_read_completely() -> None:
    body = sample("cmb_slot_picker")
    assert parse_event(body) == CallMeBack(
        event_id="860a7f4c-6545-40f1-85be-3655edde650f",
        client_account_id=ACCOUNT,
        created_at=at(2025, 7, 31, 7, 9, 20),
        business_number="910987654321",
        feature_set="Fresh Flower Delivery",
        client_number="911234567890",
        requested_at=at(2025, 7, 31, 7, 9, 20),
        requested_date="2025-08-02",
        requested_slot="Saturday",
        preferred_from=at(2025, 8, 2, 6, 30),
        preferred_to=at(2025, 8, 2, 7, 0),
        is_interested=True,
        alternate_number=None,
        config_name="CMBName",
        raw=json.loads(body),
    )


def test_sentence_instead_of_the_number_is_none_and_alternate_is_read() -> None:
    event = parse_event(sample("cmb_sim_info_missing"))
    assert isinstance(event, CallMeBack)
    assert (event.client_number, event.alternate_number) == (None, "911234567898")
    assert event.raw["cmb_payload"]["client_number"] == "Phone number not available"


def test_not_interested_event_has_no_slot() -> None:
    event = parse_event(sample("cmb_not_interested"))
    assert isinstance(event, CallMeBack)
    assert event.is_interested is False
    assert (event.requested_date, event.requested_slot, event.preferred_from, event.preferred_to) == (None,) * 4


def test_feedback_is_read_completely_and_its_number_has_no_plus() -> None:
    body = sample("user_feedback")
    assert parse_event(body.decode()) == UserFeedback(
        event_id="7719f451-5436-470a-98ba-422b997582f8",
        client_account_id=ACCOUNT,
        created_at=at(2025, 7, 31, 7, 27, 57),
        campaign="Flower Quality Check",
        business_number="910987654321",
        feature_set="Fresh Flower Delivery",
        client_number="911234567890",
        requested_at=at(2025, 7, 31, 7, 27, 57),
        responses=(
            FeedbackResponse(question="How was the delivery experience?", response="5"),
            FeedbackResponse(question="Flower Quality?", response="Good"),
        ),
        raw=json.loads(body),
    )


def test_older_form_without_slot_picker_is_read() -> None:
    event = call_me_back(business_number="+910987654321")
    assert event.business_number == "910987654321"
    assert (event.feature_set, event.client_number, event.requested_at, event.is_interested) == (None,) * 4


@pytest.mark.parametrize("kind", ["number_verified", None, "cmb"])
def test_event_of_another_kind_or_without_payload_is_kept(kind: str | None) -> None:
    raw = {"event_id": "e", "event_type": kind, "created_at": "1753946877", "news": {"a": [1]}}
    event = parse_event(json.dumps(raw))
    assert isinstance(event, UnknownEvent)
    assert (event.event_type, event.created_at, event.raw) == (kind, at(2025, 7, 31, 7, 27, 57), raw)


@pytest.mark.parametrize("left_out", [{}, {"event_id": None}, {"event_id": " "}])
def test_event_without_an_id_is_identified_by_its_bytes(left_out: dict[str, Any]) -> None:
    first, repeated, other = (parse_event(json.dumps({**left_out, "test": turn})) for turn in (1, 1, 2))
    assert isinstance(first, UnknownEvent)
    assert re.fullmatch("body-[0-9a-f]{64}", first.event_id)
    assert first.event_id == repeated.event_id != other.event_id


def test_extra_keys_are_kept_in_raw() -> None:
    assert call_me_back(business_number="1", news="x").raw["cmb_payload"]["news"] == "x"


@pytest.mark.parametrize(
    ("value", "instant"),
    [
        ("1754116200", at(2025, 8, 2, 6, 30)),
        (1754116200, at(2025, 8, 2, 6, 30)),
        (1754116200000, at(2025, 8, 2, 6, 30)),
        ("1754116200000", at(2025, 8, 2, 6, 30)),
        (1754116200.5, datetime(2025, 8, 2, 6, 30, 0, 500_000, UTC)),
        ("2025-08-02T12:00:00+05:30", at(2025, 8, 2, 6, 30)),
        ("NA", None),
        ("", None),
        ("soon", None),
        ("99999999999999999", None),
        (True, None),
        ([1754116200], None),
    ],
)
def test_timestamp_has_several_accepted_forms(value: object, instant: datetime | None) -> None:
    assert call_me_back(preferred_from_time=value).preferred_from == instant


@pytest.mark.parametrize(
    ("value", "number"),
    [
        ("+91 98765-43210", "919876543210"),
        (919876543210, "919876543210"),
        (919876543210.0, "919876543210"),
        (9198765432.5, None),
        ("Phone Number Not Available", None),
        ("", None),
        ("NA", None),
        ("٩١٩٨٧٦٥٤٣٢١٠", None),
        ({"number": 1}, None),
    ],
)
def test_number_is_digits_or_none(value: object, number: str | None) -> None:
    assert call_me_back(client_number=value).client_number == number


@pytest.mark.parametrize(
    ("value", "switch"), [(True, True), ("True", True), ("false", False), ("perhaps", None), (1, None)]
)
def test_interest_may_be_text(value: object, switch: bool | None) -> None:
    assert call_me_back(is_interested=value).is_interested is switch


def test_answer_na_is_kept_as_an_answer() -> None:
    payload = {"user_responses": [{"question": "Else?", "response": "NA"}, {"question": "Stars?", "response": 5}, "?"]}
    event = parse_event(json.dumps({"event_id": "e", "event_type": "user_feedback", "survey_payload": payload}))
    assert isinstance(event, UserFeedback)
    assert [answer.response for answer in event.responses] == ["NA", "5"]


def test_repr_shows_no_number() -> None:
    number = "919876543210"
    payload = {"client_number": number, "alternate_number": f"+{number}", "feature_set": f"of {number}"}
    answers = {"business_number": number, "user_responses": [{"question": "Which?", "response": f"call {number}"}]}
    for body in (
        {"event_type": "cmb", "cmb_payload": {**payload, "business_number": number}},
        {"event_type": "user_feedback", "survey_payload": answers},
        {"event_type": number},
    ):
        shown = repr(parse_event(json.dumps({"event_id": "e", **body})))
        assert number not in shown
        assert "3210" in shown


def test_events_are_hashable_and_compared_by_content() -> None:
    assert len({parse_event(sample("user_feedback")), parse_event(sample("user_feedback"))}) == 1


@pytest.mark.parametrize(
    ("body", "path"),
    [
        (b"", "$"),
        (b"919876543210", "$"),
        (b'"919876543210', "$"),
        (b'{"event_id": "e", "event_id": "e"}', "$"),
        (b'{"event_id": "e", "x": {"n": 1, "n": "919876543210"}}', "$"),
        ('{"event_id": "\ud800 919876543210"}', "$"),
        (b'{"event_id": true}', "$.event_id"),
        (b'{"event_id": {"a": "919876543210"}}', "$.event_id"),
        (json.dumps({"event_id": "9" * 257}), "$.event_id"),
        (b'{"event_id": "a\\u0000b"}', "$.event_id"),
    ],
)
def test_body_that_is_no_event_is_a_decode_error_with_json_path(body: bytes | str, path: str) -> None:
    with pytest.raises(DecodeError) as caught:
        parse_event(body)
    assert caught.value.path == path
    assert "9876543210" not in f"{caught.value!r}{vars(caught.value)}{caught.value.__cause__}{caught.value.__context__}"


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=8,
)
PAYLOAD_NAMES = [*json.loads(sample("cmb_slot_picker"))["cmb_payload"], "name", "user_responses"]
PAYLOADS = st.dictionaries(st.sampled_from(PAYLOAD_NAMES), JSON_VALUES) | JSON_VALUES
BODIES = st.fixed_dictionaries(
    {"event_id": st.text("abc-123", min_size=1)},
    optional={
        "event_type": st.sampled_from(["cmb", "user_feedback"]) | JSON_VALUES,
        "created_at": JSON_VALUES,
        "client_account_id": JSON_VALUES,
        "cmb_payload": PAYLOADS,
        "survey_payload": PAYLOADS,
    },
)


def path_or_id(body: bytes | str) -> str:
    """Return the JSON path of the error, or the id of the event."""
    try:
        return parse_event(body).event_id
    except DecodeError as error:
        return error.path


@given(st.binary() | st.text() | JSON_VALUES.map(json.dumps))
def test_any_body_is_an_event_or_a_decode_error_with_json_path(body: bytes | str) -> None:
    assert path_or_id(body)


@given(BODIES)
def test_no_value_in_an_event_hides_the_event(body: dict[str, Any]) -> None:
    event = parse_event(json.dumps(body))
    assert event.event_id == body["event_id"]
    assert event.raw == body
    assert repr(event)
