"""The backend of the Android OAuth SDK 3: an authorization code for tokens, a token for the user.

The app begins with a challenge made from a secret verifier (PKCE, S256) and is given a code; it hands both to the
backend. There is no client secret: only who has the verifier can use the code, and a code can be used once. So the
exchange is never made again while it might have been made: after a lost answer or a 5xx the code may be used up, and
the next try would be refused with a 403 that says nothing.

The server says 403 where OAuth would say 400: for a code, a verifier or a client id that it does not accept.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from typing import Self
from urllib.parse import urlencode

import attrs

from truecaller_async.errors import APIStatusError, ConfigError, DecodeError
from truecaller_async.models import Answer, Problem, Request, Secret
from truecaller_async.protocol.arguments import raise_problems
from truecaller_async.protocol.json_codec import readable
from truecaller_async.verification.callbacks import TOKEN_FORM
from truecaller_async.verification.json_fields import (
    JsonObject,
    answer_error,
    decode_answer,
    exact_int,
    object_or_empty,
    text_field,
)
from truecaller_async.verification.profiles import UserInfo, user_info_of
from truecaller_async.verification.requester import ANSWER_MAX_BYTES, ServiceOptions, VerificationRequester

BASE_URL = "https://oauth-account-noneu.truecaller.com"

VERIFIER_BYTES = 64
VERIFIER_FORM = re.compile(r"[A-Za-z0-9._~-]{43,128}", re.ASCII)

TOKEN_RULE = "is not 1 to 4096 printable ASCII characters"  # noqa: S105 - a message
VERIFIER_RULE = "is not 43 to 128 letters, digits and the characters - . _ ~"

SIGN_IN_AGAIN = "start a new sign-in in the app"
TOKEN_ADVICE = {
    400: "a parameter is empty, or this kind of grant is not supported",
    403: f"client id, code or verifier are not accepted, or the code was used or is too old: {SIGN_IN_AGAIN}",
    429: "too many requests",
}
USER_ADVICE = {
    401: f"the access token is not valid, or too old: {SIGN_IN_AGAIN}",
    404: "this user has no profile",
    422: "the scope openid was not asked for: the app must ask for it",
}


@attrs.frozen
class Pkce:
    """A verifier and its challenge, for apps and tests that make them here. From RFC 7636, S256."""

    verifier: Secret
    challenge: str

    @classmethod
    def new(cls) -> Pkce:
        """A fresh pair; the verifier has 64 random bytes."""
        verifier = secrets.token_urlsafe(VERIFIER_BYTES)
        return cls(Secret(verifier), challenge_of(verifier))


@attrs.frozen
class OAuthTokens:
    """What a code was exchanged for. `expires_in` is in seconds.

    The pages print no `refresh_token`, `id_token` and `scope`; they are None unless the server sends them. The
    `id_token` is not verified here.
    """

    access_token: Secret
    expires_in: float | None = None
    token_type: str = "Bearer"  # noqa: S105 - the name of a scheme
    refresh_token: Secret | None = None
    id_token: Secret | None = None
    scope: str | None = None


def challenge_of(verifier: str | Secret) -> str:
    """The S256 challenge of a verifier. Raises `ValidationError` where the verifier is not of RFC 7636's form."""
    verifier = _secret(verifier)
    raise_problems(_check_form("verifier", verifier, VERIFIER_FORM, VERIFIER_RULE))
    return _base64url(hashlib.sha256(verifier.reveal().encode()).digest())


class OAuth:
    """The OAuth server, for one client id of the developer portal.

    Raises `ConfigError`; opens nothing. Close it with `aclose`, or use `async with`.
    """

    def __init__(self, client_id: str, options: ServiceOptions | None = None) -> None:
        if not isinstance(client_id, str) or not TOKEN_FORM.fullmatch(client_id):
            raise ConfigError("client_id is not printable ASCII without spaces; copy it from the developer portal")
        self._client_id = client_id
        self._requester = VerificationRequester(BASE_URL, options)

    async def exchange_code(self, code: str | Secret, verifier: str | Secret) -> OAuthTokens:
        """The tokens for a code that the app received; a code can be used once.

        From "Truecaller for Developers: OAuth SDK, Fetching User Token". Raises `ValidationError` before sending;
        `Forbidden` where code, verifier or client id are not accepted, `BadRequest`, `RateLimited`; `ServerError`,
        `ResponseLost` and `DecodeError`, after which the code may be used up; `NotSent`.
        """
        code, verifier = _secret(code), _secret(verifier)
        raise_problems(
            _check_form("code", code, TOKEN_FORM, TOKEN_RULE),
            _check_form("verifier", verifier, VERIFIER_FORM, VERIFIER_RULE),
        )
        return await self._requester.call(self._token_request(code, verifier), self._decode_tokens)

    async def userinfo(self, access_token: str | Secret) -> UserInfo:
        """The user whom a token was given for; nothing in it says to which app it was given.

        So give one that `exchange_code` returned, and never one that an app hands over: it may be another app's.
        From "Truecaller for Developers: OAuth SDK, Fetching User Profile". Raises `ValidationError` before sending,
        `AuthenticationFailed` for a token that is not valid, `NotFound` where the user has no profile, `BadRequest`
        (422) where the scope `openid` was not asked for, `RateLimited`, `ServerError`, `NotSent`, `ResponseLost`,
        `DecodeError`.
        """
        access_token = _secret(access_token)
        raise_problems(_check_form("access_token", access_token, TOKEN_FORM, TOKEN_RULE))
        headers = {"Accept": "application/json"}
        request = Request(
            "userinfo", "GET", "/v1/userinfo", headers=headers, token=access_token, body_max_bytes=ANSWER_MAX_BYTES
        )
        return await self._requester.call(request, self._decode_user)

    async def aclose(self) -> None:
        """Close the connections. May be called twice. Raises `ClientClosed` in another event loop."""
        await self._requester.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def _token_request(self, code: Secret, verifier: Secret) -> Request:
        headers = {"Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded"}
        return Request(
            "oauth_token",
            "POST",
            "/v1/token",
            self._form_body(code, verifier),
            headers,
            body_max_bytes=ANSWER_MAX_BYTES,
        )

    def _form_body(self, code: Secret, verifier: Secret) -> bytes:
        return urlencode(
            {
                "grant_type": "authorization_code",
                "client_id": self._client_id,
                "code": code.reveal(),
                "code_verifier": verifier.reveal(),
            }
        ).encode()

    def _decode_tokens(self, answer: Answer) -> OAuthTokens:
        found = self._tokens_or_error(answer)  # what raises must not hold the server's words in its frame
        if isinstance(found, OAuthTokens):
            return found
        raise found

    def _tokens_or_error(self, answer: Answer) -> OAuthTokens | APIStatusError | DecodeError:
        if not 200 <= answer.status < 300:
            now = self._requester.options.clock.wall()
            return answer_error(answer, is_read=False, now=now, advice=TOKEN_ADVICE)
        body = object_or_empty(readable(answer.body))
        token = _token(body, "access_token")
        if token is None:
            rule = "the answer has no access token of 1 to 4096 printable ASCII characters"
            return DecodeError(rule, path="$.access_token", status=answer.status)
        expires = exact_int(body.get("expires_in"))
        return OAuthTokens(
            access_token=token,
            expires_in=None if expires is None else float(min(expires, 2**53)),
            token_type=text_field(body, "token_type") or "Bearer",
            refresh_token=_token(body, "refresh_token"),
            id_token=_token(body, "id_token"),
            scope=text_field(body, "scope"),
        )

    def _decode_user(self, answer: Answer) -> UserInfo:
        now = self._requester.options.clock.wall()
        return decode_answer(user_info_of, answer, is_read=True, now=now, advice=USER_ADVICE)


def _secret(value: str | Secret) -> Secret:
    return value if isinstance(value, Secret) else Secret(value)


def _check_form(field: str, value: Secret, form: re.Pattern[str], message: str) -> Problem | None:
    """What is wrong with it, without showing it."""
    if isinstance(value.reveal(), str) and form.fullmatch(value.reveal()):
        return None
    return Problem(field, f"{field}.form", message, "", "pass on what the app received, unchanged")


def _token(body: JsonObject, key: str) -> Secret | None:
    value = body.get(key)
    return Secret(value) if isinstance(value, str) and TOKEN_FORM.fullmatch(value) else None


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
