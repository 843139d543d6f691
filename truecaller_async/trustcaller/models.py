"""Models of TrustCaller: numbers, call records, keys.

Invariants:
    - Attributes have the names of the answers.
    - Times are timezone-aware datetimes. A value that is missing or unreadable is None.
    - Phone numbers are digits with country code, without `+`. A `repr` shows their last four digits only.
"""

from __future__ import annotations

from datetime import datetime

import attrs

from truecaller_async.models import Secret, mask_number


def _masked(number: str | None) -> str:
    return repr(None if number is None else mask_number(number))


@attrs.frozen
class ReservedNumber:
    """A number of the account. From "TrustCaller API: List numbers"."""

    id: int
    """Id of the number."""
    number: str = attrs.field(repr=_masked)
    """The number."""
    reserved: bool | None = None
    """Whether it is reserved now."""
    released_at: datetime | None = None
    """Time of the release."""
    ivr_id: int | None = None
    """Id of its voice menu."""
    created_at: datetime | None = None
    """Time of creation."""


@attrs.frozen
class PublicTestNumber:
    """A public number for testing a route. From "TrustCaller API: Test numbers"."""

    test_number: str = attrs.field(repr=_masked)
    """The number."""
    prefix: str | None = None
    """The prefix that it tests."""


@attrs.frozen
class CallDetail:
    """A call record. From "TrustCaller API: List calls"."""

    id: int
    """Id of the call."""
    caller_id: str | None = attrs.field(default=None, repr=_masked)
    """Number of the caller, masked by the server, such as "8823412XXX"."""
    number: str | None = attrs.field(default=None, repr=_masked)
    """The called number."""
    start_at: datetime | None = None
    """Start of the call."""
    end_at: datetime | None = None
    """End of the call; it may be None during the call."""
    duration: int | None = None
    """Duration; seconds, judging by the documented sample."""
    pdd: int | None = None
    """Post-dial delay; milliseconds, judging by its size."""
    call_unique_id: str | None = None
    """Unique id of the call."""
    call_acceptable: bool | None = None
    """Whether the server rates the call as acceptable."""
    short_call: bool | None = None
    """Whether the server rates the call as short."""
    hang_cause: str | None = None
    """Cause of the hang-up as sent, such as "NORMAL_CLEARING"."""


@attrs.frozen
class ApiKey:
    """An API key without its token. From "TrustCaller API: List API keys"."""

    id: int
    """Id of the key."""
    name: str | None = None
    """Label."""
    last_used_at: datetime | None = None
    """Time of the last use; None if it was never used."""
    created_at: datetime | None = None
    """Time of creation."""


@attrs.frozen
class NewKey:
    """A key that was just created. From "TrustCaller API: Create an API key"."""

    id: int
    """Id of the key."""
    token: Secret
    """The token. No later answer contains it: store `token.reveal()` first."""
    name: str | None = None
    """Label."""
    created_at: datetime | None = None
    """Time of creation."""
