"""Events, and how a body becomes one. Pure: bytes in, a value out.

Two kinds are documented, "call me back" and "user feedback"; a third class holds whatever else comes, because new kinds
must not fail. Reading is tolerant, since the documentation shows four bodies and leaves the rest open: an instant is
text of epoch seconds, and a number, milliseconds and RFC 3339 are read as well; a number may have a `+`; what stands
for nothing ("NA", "", null, a sentence such as "Phone number not available" in place of a number) is None. One odd
value never hides the rest. What was sent is kept whole in `raw`.

Two things are not forgiven, because then there is no event: a body that is not one JSON object (nor one in which a name
comes twice, which means something else to the next reader), and an `event_id` that is none. Where it is left out (what
the console's test button sends is not documented) the body itself is the name: "body-" and its SHA-256.

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
from truecaller_async.protocol.json_codec import decode, parse_time, text_of
from truecaller_async.redaction import redact

EVENT_ID_MAX = 256
"""Characters of an event id; a UUID has 36."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECONDS_MIN = 10**11
"""An instant above this is told in milliseconds: as seconds it would be in the year 5138."""

SECONDS = re.compile(r"[0-9]{1,17}(?:\.[0-9]{1,9})?", re.ASCII)
PUNCTUATION = str.maketrans("", "", " +-().")


def _number_shown(number: str | None) -> str:
    return repr(None if number is None else mask_number(number))


def _text_shown(text: str | None) -> str:
    return repr(redact(text))


@attrs.frozen(kw_only=True)
class FeedbackResponse:
    """One question of a feedback campaign and the answer to it, as text; ratings are text too, such as "5"."""

    question: str | None = attrs.field(repr=_text_shown)
    response: str | None = attrs.field(repr=_text_shown)


@attrs.frozen(kw_only=True)
class CallMeBack:
    """Somebody who missed or refused a call answered "call me back", or, where `is_interested` is False, "do not".

    Numbers are digits without `+`. `client_number` is None where Truecaller could not tell it; `alternate_number` is
    then the one the person registered with. `preferred_from` and `preferred_to` bound the time they chose; where
    `requested_date` and `requested_slot` (a weekday) say something else, trust these two.
    All but `event_id` may be None.
    """

    event_id: str = attrs.field(repr=_text_shown)
    client_account_id: str | None = attrs.field(repr=_text_shown)
    created_at: datetime | None
    business_number: str | None = attrs.field(repr=_number_shown)
    feature_set: str | None = attrs.field(repr=_text_shown)
    client_number: str | None = attrs.field(repr=_number_shown)
    requested_at: datetime | None
    requested_date: str | None = attrs.field(repr=_text_shown)
    requested_slot: str | None = attrs.field(repr=_text_shown)
    preferred_from: datetime | None
    preferred_to: datetime | None
    is_interested: bool | None
    alternate_number: str | None = attrs.field(repr=_number_shown)
    config_name: str | None = attrs.field(repr=_text_shown)
    raw: Mapping[str, Any] = attrs.field(repr=False, hash=False)


@attrs.frozen(kw_only=True)
class UserFeedback:
    """Somebody answered a feedback campaign after a call. Numbers are digits without `+`.

    All but `event_id` may be None, and `responses` may be empty.
    """

    event_id: str = attrs.field(repr=_text_shown)
    client_account_id: str | None = attrs.field(repr=_text_shown)
    created_at: datetime | None
    campaign: str | None = attrs.field(repr=_text_shown)
    business_number: str | None = attrs.field(repr=_number_shown)
    feature_set: str | None = attrs.field(repr=_text_shown)
    client_number: str | None = attrs.field(repr=_number_shown)
    requested_at: datetime | None
    responses: tuple[FeedbackResponse, ...]
    raw: Mapping[str, Any] = attrs.field(repr=False, hash=False)


@attrs.frozen(kw_only=True)
class UnknownEvent:
    """An event of another kind, or one of a known kind without its payload. `raw` is all there is to it."""

    event_id: str = attrs.field(repr=_text_shown)
    client_account_id: str | None = attrs.field(repr=_text_shown)
    event_type: str | None = attrs.field(repr=_text_shown)
    created_at: datetime | None
    raw: Mapping[str, Any] = attrs.field(repr=False, hash=False)


Event: TypeAlias = CallMeBack | UserFeedback | UnknownEvent


def parse_event(body: bytes | str) -> Event:
    """The event that this body is. Raises `DecodeError`, with the place in `path`, where it is none.

    The error quotes nothing of the body: whoever logs it logs no number.
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
        pass  # the error would carry the text
    raise DecodeError("the body has half a surrogate pair, which is no character")


def _decoded(body: bytes) -> object:
    try:
        return decode(body)
    except DecodeError as error:
        path, said = error.path, str(error.args[0]).removesuffix(f" (at {error.path})")
    raise DecodeError(said, path=path)


def _decoded_strictly(body: bytes) -> Any:
    """The same again with an eye on names that come twice, of which the first reader kept the last."""
    try:
        return json.loads(body, object_pairs_hook=_reject_duplicates)
    except (ValueError, RecursionError):
        pass
    raise DecodeError("the body nests too deep, or has an object in which one name comes twice")


def _reject_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError
    return found


def _event_id(value: object, body: bytes) -> str:
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str | None):
        raise DecodeError("event_id is no text", path="$.event_id")
    event_id = (text or "").strip() or f"body-{sha256(body).hexdigest()}"
    if len(event_id) > EVENT_ID_MAX or not event_id.isprintable():
        raise DecodeError(f"event_id is longer than {EVENT_ID_MAX} characters or not printable", path="$.event_id")
    return event_id


def _text(value: object) -> str | None:
    text = (text_of(value) or "").strip()
    return None if text in ("", "NA") else text


def _number(value: object) -> str | None:
    """Digits only; None where it is no number, whatever sentence stands there."""
    if isinstance(value, float):
        value = int(value) if value.is_integer() else None  # 9e11 has no digits of its own, and .0 is none of them
    digits = (_text(value) or "").translate(PUNCTUATION)
    return digits if digits.isascii() and digits.isdigit() else None


def _boolean(value: object) -> bool | None:
    return {"true": True, "false": False}.get((_text(value) or "").lower())


def _timestamp(value: object) -> datetime | None:
    text = _text(value)
    if text is None or isinstance(value, bool):
        return None
    if not SECONDS.fullmatch(text):
        return parse_time(text)
    seconds = float(text)
    if seconds > MILLISECONDS_MIN:
        seconds /= 1000
    try:
        return EPOCH + timedelta(seconds=seconds)
    except OverflowError:
        return None
