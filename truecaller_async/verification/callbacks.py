"""Decode the requests that Truecaller posts to the callback URL of a mobile website. No I/O.

One sign-in causes up to two callbacks: `flow_invoked` when the dialog opens, then the access token or the rejection.

Invariants:
    - Callbacks are not signed, so any client can post one. A decoded callback is untrusted until its `request_id` is
      found in the nonce store (`mobile_web`).
Failure modes:
    - A callback with an unknown status becomes an `UnknownCallback`, not an error.
    - A body that is not a JSON object, or is larger than `BODY_MAX_BYTES`, is a `DecodeError`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeAlias

import attrs

from truecaller_async.errors import DecodeError
from truecaller_async.models import Secret
from truecaller_async.protocol.json_codec import decode_or_none
from truecaller_async.verification.endpoints import ENDPOINT_MAX_CHARS
from truecaller_async.verification.json_fields import text_field

STATUS_FLOW_INVOKED = "flow_invoked"
REJECTION_STATUSES = frozenset({"user_rejected", "use_another_number"})
"""Statuses of a rejection. The second is undocumented: sites received it for the button in the dialog's footer."""

BODY_MAX_BYTES = 64 * 1024
"""Largest callback body that is decoded."""

TOKEN_FORM = re.compile(r"[!-~]{1,4096}", re.ASCII)
"""Form of an access token, a code or a client id: 1 to 4096 printable ASCII characters."""


@attrs.frozen
class FlowInvoked:
    """Callback: the app is installed, the user is signed in to it, and the dialog is open."""

    request_id: str
    """The nonce of the sign-in."""


@attrs.frozen
class ProfileReady:
    """Callback: the user agreed. The token is valid for 10 minutes and only for this profile."""

    request_id: str
    """The nonce of the sign-in."""
    access_token: Secret
    """The token for the profile request."""
    endpoint: str = attrs.field(repr=False)
    """Address of the profile, not yet checked.

    Cut to `ENDPOINT_MAX_CHARS` + 1 characters: the store holds little untrusted text, and `Endpoints.check` still
    rejects the address as too long.
    """


@attrs.frozen
class UserRejected:
    """Callback: the user went back, skipped, or wants to use another number."""

    request_id: str
    """The nonce of the sign-in."""
    status: str = "user_rejected"
    """The status that was posted."""


@attrs.frozen
class UnknownCallback:
    """Callback of an undocumented kind."""

    request_id: str | None
    """The nonce of the sign-in; None if the body has no text there."""
    status: str | None
    """The status that was posted; None if the body has none."""
    raw: Mapping[str, object] = attrs.field(repr=False, factory=dict)
    """The whole body. It may contain a token."""


KnownCallback: TypeAlias = FlowInvoked | ProfileReady | UserRejected
Callback: TypeAlias = KnownCallback | UnknownCallback


def parse_callback(body: bytes) -> Callback:
    """Decode a callback body. From "Truecaller for Developers: Mobile websites, Fetch User Profile".

    Args:
        body: The bytes of the request body.

    Returns:
        The callback; an `UnknownCallback` if its kind is not documented.

    Raises:
        DecodeError: The body is larger than 64 KiB or is not a JSON object. The message does not quote it.
    """
    value = decode_or_none(body) if len(body) <= BODY_MAX_BYTES else None
    if not isinstance(value, dict):
        raise DecodeError(f"the callback is not a JSON object of at most {BODY_MAX_BYTES} bytes")
    request_id, status = value.get("requestId"), text_field(value, "status")
    if not isinstance(request_id, str):
        return UnknownCallback(None, status, value)
    return _known_callback(request_id, status, value) or UnknownCallback(request_id, status, value)


def _known_callback(request_id: str, status: str | None, value: Mapping[str, object]) -> KnownCallback | None:
    token, endpoint = value.get("accessToken"), value.get("endpoint")
    if isinstance(token, str) and TOKEN_FORM.fullmatch(token) and isinstance(endpoint, str):
        return ProfileReady(request_id, Secret(token), endpoint[: ENDPOINT_MAX_CHARS + 1])
    if token is not None:
        return None
    if status == STATUS_FLOW_INVOKED:
        return FlowInvoked(request_id)
    return UserRejected(request_id, status) if status in REJECTION_STATUSES else None
