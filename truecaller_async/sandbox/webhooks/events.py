"""The bodies of the two webhook events, in the four forms that the documentation prints.

    slot_picker        a user chose a day and a half hour to be called back
    sim_info_missing   the same, but the phone could not say its number: a sentence stands in its place
    not_interested     a user does not want to be called back
    user_feedback      a user answered the questions after a call

They are about calls that the sandbox has seen: a business number and a person it called, drawn from those given, or
invented where there are none. Every time is a decimal string of seconds. The chosen half hour is on the next day, and
date and weekday are those of its beginning in UTC. The sandbox's own choice: in `sim_info_missing` date, weekday and
window agree, where the printed sample contradicts itself.
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
    """The forms of an event. All but the last are of the type `cmb`."""

    SLOT_PICKER = "slot_picker"
    SIM_INFO_MISSING = "sim_info_missing"
    NOT_INTERESTED = "not_interested"
    USER_FEEDBACK = "user_feedback"


@attrs.frozen
class Contact:
    """A call between a business number and a person, both as digits."""

    business: str = attrs.field(repr=False)
    person: str = attrs.field(repr=False)


@attrs.frozen
class WebhookEvent:
    """One event as it is sent. `event_id` is the same in every repetition."""

    event_id: str
    kind: EventKind
    body: bytes = attrs.field(repr=False)


class EventFactory:
    """Makes events of one account; the same seed makes the same events, at the same moments about the same calls."""

    def __init__(self, seed: int, client_account_id: str, feature_sets: Sequence[str]) -> None:
        self._rng = random.Random(f"webhook events {seed}")  # noqa: S311 - repeatable on purpose, guards nothing
        self._account = client_account_id
        self._feature_sets = tuple(feature_sets) or ("Calls",)

    def make(self, kind: EventKind, contacts: Sequence[Contact], now: float) -> WebhookEvent:
        """One event of this kind, requested at that moment (wall-clock seconds)."""
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
"""English whatever the locale, as the samples are."""
