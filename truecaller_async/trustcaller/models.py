"""What a caller of TrustCaller holds: numbers, call records, keys.

The names are those of the answers. Instants are aware datetimes; what an answer leaves out, or writes in a way that
cannot be read, is None. Numbers are digits with country code and without `+`, and show their last four digits only.
"""

from __future__ import annotations

from datetime import datetime

import attrs

from truecaller_async.models import Secret, mask_number


def _masked(number: str | None) -> str:
    return repr(None if number is None else mask_number(number))


@attrs.frozen
class ReservedNumber:
    """One number of the account. From "TrustCaller API: List numbers"."""

    id: int
    number: str = attrs.field(repr=_masked)
    reserved: bool | None = None
    released_at: datetime | None = None
    ivr_id: int | None = None
    created_at: datetime | None = None


@attrs.frozen
class PublicTestNumber:
    """A public number to try a route with. From "TrustCaller API: Test numbers"."""

    test_number: str = attrs.field(repr=_masked)
    prefix: str | None = None


@attrs.frozen
class CallDetail:
    """One call. From "TrustCaller API: List calls".

    `caller_id` is masked by the server, such as "8823412XXX". `number` is the number that was called. `duration` is in
    seconds, by its sample; `pdd`, the delay after dialling, in milliseconds, by its size. `end_at` may be None while
    the call lasts. `hang_cause` is a word such as "NORMAL_CLEARING", as the server wrote it.
    """

    id: int
    caller_id: str | None = attrs.field(default=None, repr=_masked)
    number: str | None = attrs.field(default=None, repr=_masked)
    start_at: datetime | None = None
    end_at: datetime | None = None
    duration: int | None = None
    pdd: int | None = None
    call_unique_id: str | None = None
    call_acceptable: bool | None = None
    short_call: bool | None = None
    hang_cause: str | None = None


@attrs.frozen
class ApiKey:
    """A key of the account, without its token, which is never told again. From "TrustCaller API: List API keys".

    `last_used_at` is None where it was never used.
    """

    id: int
    name: str | None = None
    last_used_at: datetime | None = None
    created_at: datetime | None = None


@attrs.frozen
class NewKey:
    """A key that was just made. From "TrustCaller API: Create an API key".

    `token` is told this once and never again: store `token.reveal()` before anything else.
    """

    id: int
    token: Secret
    name: str | None = None
    created_at: datetime | None = None
