"""The catalogue of the events that the package reports to an `Observer`.

An observer receives an event as a name and a mapping of fields. The code that reports an event passes plain strings, so
that it needs no import from here. The tests compare each of these calls with the catalogue: the name must be listed,
and the fields must be exactly the fields of its `EventSpec`.

Names have the form `subject.past_participle` in lower case. A field that holds a duration has the suffix `_seconds`.
`docs/reference/events.md` is generated from this module by `python -m truecaller_async.telemetry.events`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from types import NoneType

import attrs

from truecaller_async.models import Outcome


@attrs.frozen
class Field:
    """One field of an event."""

    name: str
    """Key in the mapping that the observer receives."""
    meaning: str
    """What the value says, as one sentence."""
    types: tuple[type, ...] = (str,)
    """Types that the value can have. `NoneType` stands for None."""
    unit: str | None = None
    """Unit of a number, such as "s" or "records"; None if the value is not a quantity."""


@attrs.frozen
class EventSpec:
    """One event: its name, when it is reported, and its fields."""

    name: str
    """First argument of the observer's method, such as `token.minted`."""
    meaning: str
    """When the event is reported, and how often."""
    fields: tuple[Field, ...] = ()
    """All fields, in the order in which they are reported."""
    level: int = logging.INFO
    """Level of its log line: INFO for normal operation, WARNING for what an operator should look at."""

    def mismatches(self, fields: Mapping[str, object]) -> list[str]:
        """Return how reported fields differ from this specification: missing, unknown, or of another type."""
        specified = {field.name: field for field in self.fields}
        found = [f"{self.name}: field {name!r} is missing" for name in specified if name not in fields]
        for name, value in fields.items():
            if name not in specified:
                found.append(f"{self.name}: field {name!r} is not in the catalogue")
            elif type(value) not in specified[name].types:
                found.append(f"{self.name}: field {name!r} has the type {type(value).__name__}")
        return found


_INT = (int,)
_TOKEN_ID = Field("token_id", "Short hash that identifies the token. It is not a secret.")
_LIVE_TOKENS = Field("live_tokens", "Live tokens in the pool after this event.", _INT, "tokens")
_ERROR_TEXT = Field("message", "Text of the error, redacted.")

_SPECS = (
    EventSpec(
        "breaker.opened",
        "The circuit breaker opened: requests are paused until a probe request succeeds.",
        (Field("error", "Class name of the error that opened the breaker."),),
        logging.WARNING,
    ),
    EventSpec("breaker.closed", "The circuit breaker closed: requests are sent again."),
    EventSpec(
        "campaign.started",
        "A run of a campaign started.",
        (
            Field("max_tokens", "Upper bound of the token pool.", _INT, "tokens"),
            Field("run", "Number of this run of the campaign. 1 is the first; each resume adds 1.", _INT),
        ),
    ),
    EventSpec(
        "campaign.stop_requested",
        "The run sends no new batches from now on: the caller stopped it, or an error did. Reported once per run.",
        (Field("open_records", "Records without a final outcome.", _INT, "records"),),
    ),
    EventSpec(
        "campaign.failed",
        "An error ended the run. Reported once per run, for the first error.",
        (Field("error", "Class name of the error, or `internal_error` if it is not a `TruecallerError`."),),
        logging.WARNING,
    ),
    EventSpec(
        "campaign.finished",
        "The run ended: the source was read, or the run was stopped, and each record that was read has a result.",
        (
            Field("read", "Records read from the source.", _INT, "records"),
            *(
                Field(outcome.value, f"Records with the outcome `{outcome.value}`.", _INT, "records")
                for outcome in Outcome
            ),
        ),
    ),
    EventSpec(
        "clock.offset_detected",
        "The local clock differs from the server's clock by more than 30 s. Reported once per client.",
        (
            Field(
                "server_ahead_seconds", "Server time minus local time. Negative if the local clock is fast.", _INT, "s"
            ),
        ),
        logging.WARNING,
    ),
    EventSpec(
        "loop.stalled",
        "Other code blocked the event loop for more than 1 s.",
        (Field("delay_seconds", "How late the dispatcher ran.", (float,), "s"),),
        logging.WARNING,
    ),
    EventSpec(
        "rate.unexpected_429",
        "A 429 although the limits were not used up: the server's limits are lower, or others use the account. "
        "Reported at most once per minute.",
        (_TOKEN_ID,),
        logging.WARNING,
    ),
    EventSpec(
        "status_rows.unmatched",
        "A batch status contained rows that match no record of the batch. Reported once per run.",
        (
            Field("batch_id", "Batch whose status contained the rows."),
            Field("rows", "Rows without a matching record.", _INT, "rows"),
        ),
        logging.WARNING,
    ),
    EventSpec(
        "status_value.first_seen",
        "A status value that is not final was received for the first time in this run.",
        (Field("status", "The status value, redacted; None if the row had none.", (str, NoneType)),),
    ),
    EventSpec("token.minted", "The server issued a new token.", (_TOKEN_ID, _LIVE_TOKENS)),
    EventSpec(
        "token.reissued",
        "The server issued a token that is in the pool already. The pool stops growing beyond its present size.",
        (_TOKEN_ID, _LIVE_TOKENS),
        logging.WARNING,
    ),
    EventSpec(
        "token.adopted",
        "The pool took over a live token from the token store.",
        (_TOKEN_ID, Field("remaining_seconds", "Time until the token expires.", _INT, "s")),
    ),
    EventSpec(
        "token.discarded",
        "The server refused a token, and the pool removed it.",
        (_TOKEN_ID, Field("reason", "Error slug of the answer, or its HTTP status if it has no slug.", (str, int))),
        logging.WARNING,
    ),
    EventSpec(
        "token.renewal_failed",
        "A token could not be renewed before its expiry. The pool retries after 60 s.",
        (_TOKEN_ID, _ERROR_TEXT),
        logging.WARNING,
    ),
    EventSpec(
        "token_budget.exhausted",
        "A campaign has no token, and the budget for new tokens is used up. Repeated each minute until it has one.",
        (Field("retry_at", "Time of the next attempt, ISO 8601 with offset, to the second."),),
        logging.WARNING,
    ),
    EventSpec(
        "token_pool.growth_failed",
        "An additional token for waiting calls could not be minted. Calls continue with the existing tokens.",
        (_ERROR_TEXT,),
        logging.WARNING,
    ),
)

EVENTS: Mapping[str, EventSpec] = {spec.name: spec for spec in _SPECS}
"""All events by name."""


def mismatches(name: str, fields: Mapping[str, object]) -> list[str]:
    """Return how a reported event differs from the catalogue; an empty list if it conforms."""
    spec = EVENTS.get(name)
    return [f"the event {name!r} is not in the catalogue"] if spec is None else spec.mismatches(fields)
