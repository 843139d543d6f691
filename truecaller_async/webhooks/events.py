"""Events and their parser. No I/O.

Two kinds of events are documented, "call me back" and "user feedback". All others become `UnknownEvent`, because new
kinds must not fail. The documentation has only four sample bodies, so parsing is tolerant:

- a time is text of epoch seconds; numbers, milliseconds and RFC 3339 are accepted too;
- a phone number can have a `+`;
- placeholders ("NA", "", null, or a sentence such as "Phone number not available" in place of a number) become None;
- an unexpected value does not affect other fields; `raw` has the complete object.

Two errors are fatal:

- a body that is not one JSON object, or that has a repeated name in an object (parsers disagree about its meaning);
- an `event_id` that is not an id. If it is missing (the content of the console's test event is not documented), the id
  is "body-" and the SHA-256 of the body.

From "Truecaller for Business: Webhooks, events and response structure".
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, TypeAlias

import attrs

from truecaller_async.errors import DecodeError
from truecaller_async.models import mask_number
from truecaller_async.protocol.json_codec import decode, text_of
from truecaller_async.redaction import redact
from truecaller_async.validation.timestamps import parse_rfc3339

EVENT_ID_MAX = 256
"""Characters of an event id; a UUID has 36."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECONDS_MIN = 10**11
"""A time above this is in milliseconds: in seconds it would be in the year 5138."""

SECONDS = re.compile(r"[0-9]{1,17}(?:\.[0-9]{1,9})?", re.ASCII)
PUNCTUATION = str.maketrans("", "", " +-().")


def _number_shown(number: str | None) -> str:
    return repr(None if number is None else mask_number(number))


def _text_shown(text: str | None) -> str:
    return repr(redact(text))


@attrs.frozen(kw_only=True)
class FeedbackResponse:
    """Question of a feedback campaign and its answer."""

    question: str | None = attrs.field(repr=_text_shown)
    """Text of the question."""
    response: str | None = attrs.field(repr=_text_shown)
    """Answer as text; ratings are text too, such as "5"."""


@attrs.frozen(kw_only=True)
class CallMeBack:
    """Request of a user for a call back after a missed or rejected call, or its refusal.

    All attributes except `event_id` can be None. Phone numbers are digits without `+`.
    """

    event_id: str = attrs.field(repr=_text_shown)
    """Id of the event."""
    client_account_id: str | None = attrs.field(repr=_text_shown)
    """UUID of the account."""
    created_at: datetime | None
    """Time at which Truecaller created the event."""
    business_number: str | None = attrs.field(repr=_number_shown)
    """Number of the business that called."""
    feature_set: str | None = attrs.field(repr=_text_shown)
    """Name of the feature set."""
    client_number: str | None = attrs.field(repr=_number_shown)
    """Number of the user; None if Truecaller does not know it."""
    requested_at: datetime | None
    """Time of the request."""
    requested_date: str | None = attrs.field(repr=_text_shown)
    """Chosen date as text. If it disagrees with `preferred_from`, use `preferred_from`."""
    requested_slot: str | None = attrs.field(repr=_text_shown)
    """Chosen weekday as text. If it disagrees with `preferred_from`, use `preferred_from`."""
    preferred_from: datetime | None
    """Start of the chosen time."""
    preferred_to: datetime | None
    """End of the chosen time."""
    is_interested: bool | None
    """False if the user does not want a call back."""
    alternate_number: str | None = attrs.field(repr=_number_shown)
    """Number with which the user registered, if `client_number` is None."""
    config_name: str | None = attrs.field(repr=_text_shown)
    """Name of the call-me-back configuration."""
    raw: Mapping[str, Any] = attrs.field(repr=False, hash=False)
    """Complete JSON object."""


@attrs.frozen(kw_only=True)
class UserFeedback:
    """Answers of a user to a feedback campaign after a call.

    All attributes except `event_id` can be None; `responses` can be empty. Phone numbers are digits without `+`.
    """

    event_id: str = attrs.field(repr=_text_shown)
    """Id of the event."""
    client_account_id: str | None = attrs.field(repr=_text_shown)
    """UUID of the account."""
    created_at: datetime | None
    """Time at which Truecaller created the event."""
    campaign: str | None = attrs.field(repr=_text_shown)
    """Name of the feedback campaign."""
    business_number: str | None = attrs.field(repr=_number_shown)
    """Number of the business that called."""
    feature_set: str | None = attrs.field(repr=_text_shown)
    """Name of the feature set."""
    client_number: str | None = attrs.field(repr=_number_shown)
    """Number of the user."""
    requested_at: datetime | None
    """Time of the answer."""
    responses: tuple[FeedbackResponse, ...]
    """Questions and answers."""
    raw: Mapping[str, Any] = attrs.field(repr=False, hash=False)
    """Complete JSON object."""


@attrs.frozen(kw_only=True)
class UnknownEvent:
    """Event of another kind, or of a known kind without its payload."""

    event_id: str = attrs.field(repr=_text_shown)
    """Id of the event."""
    client_account_id: str | None = attrs.field(repr=_text_shown)
    """UUID of the account."""
    event_type: str | None = attrs.field(repr=_text_shown)
    """Type as sent."""
    created_at: datetime | None
    """Time at which Truecaller created the event."""
    raw: Mapping[str, Any] = attrs.field(repr=False, hash=False)
    """Complete JSON object."""


Event: TypeAlias = CallMeBack | UserFeedback | UnknownEvent


def parse_event(body: bytes | str) -> Event:
    """Convert a body to an event.

    Args:
        body: JSON as bytes or text.

    Returns:
        The event; `UnknownEvent` for a kind that is not documented.

    Raises:
        DecodeError: The body is not an event; `path` is the JSON path. The error contains no part of the body, so it
            can be logged.
    """
    encoded = _encoded(body)
    raw = _object(encoded)
    event_id = _event_id(raw.get("event_id"), encoded)
    match raw.get("event_type"), raw.get("cmb_payload"), raw.get("survey_payload"):
        case "cmb", dict() as payload, _:
            return _call_me_back(event_id, raw, payload)
        case "user_feedback", _, dict() as payload:
            return _user_feedback(event_id, raw, payload)
    return UnknownEvent(
        event_id=event_id,
        client_account_id=_text(raw.get("client_account_id")),
        event_type=_text(raw.get("event_type")),
        created_at=_timestamp(raw.get("created_at")),
        raw=raw,
    )


def _call_me_back(event_id: str, raw: dict[str, Any], payload: dict[str, Any]) -> CallMeBack:
    return CallMeBack(
        event_id=event_id,
        client_account_id=_text(raw.get("client_account_id")),
        created_at=_timestamp(raw.get("created_at")),
        business_number=_number(payload.get("business_number")),
        feature_set=_text(payload.get("feature_set")),
        client_number=_number(payload.get("client_number")),
        requested_at=_timestamp(payload.get("requested_at")),
        requested_date=_text(payload.get("requested_date")),
        requested_slot=_text(payload.get("requested_slot")),
        preferred_from=_timestamp(payload.get("preferred_from_time")),
        preferred_to=_timestamp(payload.get("preferred_to_time")),
        is_interested=_boolean(payload.get("is_interested")),
        alternate_number=_number(payload.get("alternate_number")),
        config_name=_text(payload.get("cmb_config_name")),
        raw=raw,
    )


def _user_feedback(event_id: str, raw: dict[str, Any], payload: dict[str, Any]) -> UserFeedback:
    answers = payload.get("user_responses")
    return UserFeedback(
        event_id=event_id,
        client_account_id=_text(raw.get("client_account_id")),
        created_at=_timestamp(raw.get("created_at")),
        campaign=_text(payload.get("name")),
        business_number=_number(payload.get("business_number")),
        feature_set=_text(payload.get("feature_set")),
        client_number=_number(payload.get("client_number")),
        requested_at=_timestamp(payload.get("requested_at")),
        responses=tuple(
            FeedbackResponse(question=text_of(answer.get("question")), response=text_of(answer.get("response")))
            for answer in (answers if isinstance(answers, list) else ())
            if isinstance(answer, dict)
        ),
        raw=raw,
    )


def _object(body: bytes) -> dict[str, Any]:
    if not isinstance(_decoded(body), dict):
        raise DecodeError("expected an object")
    value: dict[str, Any] = _decoded_strictly(body)
    return value


def _encoded(body: bytes | str) -> bytes:
    if not isinstance(body, str):
        return bytes(body)
    try:
        return body.encode()
    except UnicodeEncodeError:
        pass  # not chained: the error contains the text
    raise DecodeError("the body contains an unpaired surrogate")


def _decoded(body: bytes) -> object:
    try:
        return decode(body)
    except DecodeError as error:
        path, message = error.path, str(error.args[0]).removesuffix(f" (at {error.path})")
    raise DecodeError(message, path=path)


def _decoded_strictly(body: bytes) -> Any:
    """Decode again and reject repeated names, of which the first decoder kept the last."""
    try:
        return json.loads(body, object_pairs_hook=_reject_duplicates)
    except (ValueError, RecursionError):
        pass
    raise DecodeError("the body is nested too deeply, or an object in it has a repeated name")


def _reject_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError
    return found


def _event_id(value: object, body: bytes) -> str:
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str | None):
        raise DecodeError("event_id is not text", path="$.event_id")
    event_id = (text or "").strip() or f"body-{sha256(body).hexdigest()}"
    if len(event_id) > EVENT_ID_MAX or not event_id.isprintable():
        raise DecodeError(f"event_id is longer than {EVENT_ID_MAX} characters or not printable", path="$.event_id")
    return event_id


def _text(value: object) -> str | None:
    text = (text_of(value) or "").strip()
    return None if text in ("", "NA") else text


def _number(value: object) -> str | None:
    """Return digits only; None if the value is not a phone number."""
    if isinstance(value, float):
        value = int(value) if value.is_integer() else None  # 9e11 would be formatted with an exponent or with .0
    digits = (_text(value) or "").translate(PUNCTUATION)
    return digits if digits.isascii() and digits.isdigit() else None


def _boolean(value: object) -> bool | None:
    return {"true": True, "false": False}.get((_text(value) or "").lower())


def _timestamp(value: object) -> datetime | None:
    text = _text(value)
    if text is None or isinstance(value, bool):
        return None
    if not SECONDS.fullmatch(text):
        return parse_rfc3339(text)
    seconds = float(text)
    if seconds > MILLISECONDS_MIN:
        seconds /= 1000
    try:
        return EPOCH + timedelta(seconds=seconds)
    except OverflowError:
        return None
