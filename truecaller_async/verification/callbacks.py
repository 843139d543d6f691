"""What Truecaller posts to the callback URL of a mobile website. Pure.

One request of a user brings up to two callbacks: `flow_invoked` as soon as the dialog is open, then the access token or
the rejection. No callback is signed: who knows the URL can post one. So what is read here is a claim, and means nothing
until its `request_id` is found to be a nonce of ours (`mobile_web`).

Unknown words do not fail: they are an `UnknownCallback`. Only what is no JSON object at all is a `DecodeError`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeAlias

import attrs

from truecaller_async.errors import DecodeError
from truecaller_async.models import Secret
from truecaller_async.protocol.json_codec import readable
from truecaller_async.verification.endpoints import ENDPOINT_MAX_CHARS
from truecaller_async.verification.json_fields import text_field

STATUS_FLOW_INVOKED = "flow_invoked"
REJECTION_STATUSES = frozenset({"user_rejected", "use_another_number"})
"""The second word is not on the pages; sites have seen it for the button in the dialog's footer."""

BODY_MAX_BYTES = 64 * 1024
"""Bytes of a callback that are read at all."""

TOKEN_FORM = re.compile(r"[!-~]{1,4096}", re.ASCII)


@attrs.frozen
class FlowInvoked:
    """The app is there, the user is signed in to it, and the dialog is open."""

    request_id: str


@attrs.frozen
class ProfileReady:
    """The user agreed. `endpoint` is where the profile is fetched with the token; it is not yet to be trusted.

    Of an endpoint that is too long only so much is kept as shows it: a stranger's words lie in a store for minutes.
    The token lives 10 minutes and reads this one profile.
    """

    request_id: str
    access_token: Secret
    endpoint: str = attrs.field(repr=False)


@attrs.frozen
class UserRejected:
    """The user went back, skipped, or wants another number. `status` is the word that was sent."""

    request_id: str
    status: str = "user_rejected"


@attrs.frozen
class UnknownCallback:
    """A callback of a kind that the pages do not know. `raw` is all of it; it may hold a token."""

    request_id: str | None
    status: str | None
    raw: Mapping[str, object] = attrs.field(repr=False, factory=dict)


KnownCallback: TypeAlias = FlowInvoked | ProfileReady | UserRejected
Callback: TypeAlias = KnownCallback | UnknownCallback


def parse_callback(body: bytes) -> Callback:
    """The callback in this body. From "Truecaller for Developers: Mobile websites, Fetch User Profile".

    Raises `DecodeError` where the body is larger than 64 KiB or is no JSON object; it is not quoted.
    """
    value = readable(body) if len(body) <= BODY_MAX_BYTES else None
    if not isinstance(value, dict):
        raise DecodeError(f"the callback is no JSON object of at most {BODY_MAX_BYTES} bytes")
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
