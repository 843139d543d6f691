"""Bodies of webhook events, in the four documented forms.

    slot_picker        a user chose a day and a half hour for a call back
    sim_info_missing   the same, but the phone could not read its number: a sentence replaces the number
    not_interested     a user does not want a call back
    user_feedback      a user answered the questions after a call

The events are about calls that the sandbox received: a business number and a called number of the given contacts, or
generated numbers if there are none. Times are decimal texts of seconds. The chosen half hour is on the next day; date
and weekday are those of its start in UTC. Chosen by the sandbox: in `sim_info_missing` date, weekday and window agree;
the documented sample contradicts itself.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from enum import StrEnum

import attrs
import msgspec

DAY_SECONDS = 86_400
HALF_HOUR_SECONDS = 1_800
NO_NUMBER = "Phone number not available"
NOT_AVAILABLE = "NA"
CONFIG_NAME = "Call me back"
CAMPAIGN_NAME = "After the call"
QUESTIONS = ("How was the call?", "Was your question answered?")
ANSWERS = (("1", "2", "3", "4", "5"), ("Yes", "In part", "No"))


class EventKind(StrEnum):
    """Forms of an event. All except `USER_FEEDBACK` have the event type `cmb`."""

    SLOT_PICKER = "slot_picker"
    """A user chose a time for a call back."""
    SIM_INFO_MISSING = "sim_info_missing"
    """The same, without the number of the phone."""
    NOT_INTERESTED = "not_interested"
    """A user does not want a call back."""
    USER_FEEDBACK = "user_feedback"
    """A user answered a survey."""


@attrs.frozen
class Contact:
    """Business number and called number of a call, digits only."""

    business: str = attrs.field(repr=False)
    person: str = attrs.field(repr=False)


@attrs.frozen
class WebhookEvent:
    """One event as it is sent."""

    event_id: str
    """Id; equal in all repetitions."""
    kind: EventKind
    """Form of the event."""
    body: bytes = attrs.field(repr=False)
    """JSON in bytes."""


class EventFactory:
    """Generates events of one account; deterministic for a seed, times and contacts."""

    def __init__(self, seed: int, client_account_id: str, feature_sets: Sequence[str]) -> None:
        self._rng = random.Random(f"webhook events {seed}")  # noqa: S311 - repeatable on purpose, guards nothing
        self._account = client_account_id
        self._feature_sets = tuple(feature_sets) or ("Calls",)

    def make(self, kind: EventKind, contacts: Sequence[Contact], now: float) -> WebhookEvent:
        """Return one event of this kind, requested at `now` (wall-clock seconds)."""
        event_id = str(uuid.UUID(int=self._rng.getrandbits(128), version=4))
        contact = self._rng.choice(contacts) if contacts else self._invented_contact()
        at = int(now)
        is_feedback = kind is EventKind.USER_FEEDBACK
        payload = self._survey(contact, at) if is_feedback else self._call_me_back(kind, contact, at)
        body = {
            "event_id": event_id,
            "client_account_id": self._account,
            "event_type": "user_feedback" if is_feedback else "cmb",
            "created_at": str(at),
            "survey_payload" if is_feedback else "cmb_payload": payload,
        }
        return WebhookEvent(event_id, kind, msgspec.json.encode(body))

    def _invented_contact(self) -> Contact:
        digits = self._rng.randrange
        return Contact(f"9190000{digits(10**5):05d}", f"9198000{digits(10**5):05d}")

    def _call_me_back(self, kind: EventKind, contact: Contact, at: int) -> dict[str, object]:
        hidden = kind is EventKind.SIM_INFO_MISSING
        return {
            "business_number": contact.business,
            "feature_set": self._rng.choice(self._feature_sets),
            "client_number": NO_NUMBER if hidden else contact.person,
            "requested_at": str(at),
            **self._slot(kind, at),
            "alternate_number": contact.person if hidden else "",
            "cmb_config_name": CONFIG_NAME,
        }

    def _slot(self, kind: EventKind, at: int) -> dict[str, object]:
        half_hours = self._rng.randrange(1, 20)
        if kind is EventKind.NOT_INTERESTED:
            return {
                "requested_date": NOT_AVAILABLE,
                "requested_slot": NOT_AVAILABLE,
                "preferred_from_time": None,
                "preferred_to_time": None,
                "is_interested": False,
            }
        start = (at // HALF_HOUR_SECONDS + half_hours) * HALF_HOUR_SECONDS + DAY_SECONDS
        day = datetime.fromtimestamp(start, UTC)
        return {
            "requested_date": f"{day:%Y-%m-%d}",
            "requested_slot": WEEKDAYS[day.weekday()],
            "preferred_from_time": str(start),
            "preferred_to_time": str(start + HALF_HOUR_SECONDS),
            "is_interested": True,
        }

    def _survey(self, contact: Contact, at: int) -> dict[str, object]:
        responses = [
            {"question": question, "response": self._rng.choice(answers)}
            for question, answers in zip(QUESTIONS, ANSWERS, strict=True)
        ]
        return {
            "name": CAMPAIGN_NAME,
            "business_number": f"+{contact.business}",
            "feature_set": self._rng.choice(self._feature_sets),
            "client_number": contact.person,
            "requested_at": str(at),
            "user_responses": responses,
        }


WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
"""English names in every locale, as in the samples."""
