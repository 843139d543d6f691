"""Exchange an authorization code of the Android OAuth SDK 3 for tokens, and fetch the user of a token.

The app starts with a challenge that is computed from a secret verifier (PKCE, S256), and receives a code. It sends the
code and the verifier to the backend. There is no client secret: the verifier proves that the code belongs to this
sign-in.

Invariants:
    - A code can be used once. So the exchange is repeated only if the request was certainly not sent.
Failure modes:
    - After a lost answer or a 5xx the code may be used up. A second exchange would be rejected with 403, without a
      reason.
    - The server answers 403 where OAuth prescribes 400: for a code, a verifier or a client id that it does not accept.
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
from truecaller_async.protocol.json_codec import decode_or_none
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
"""Form of a verifier in RFC 7636."""

TOKEN_RULE = "is not 1 to 4096 printable ASCII characters"  # noqa: S105 - a message
VERIFIER_RULE = "is not 43 to 128 letters, digits and the characters - . _ ~"

SIGN_IN_AGAIN = "start a new sign-in in the app"
TOKEN_ADVICE = {
    400: "a parameter is empty, or this kind of grant is not supported",
    403: f"the client id, the code or the verifier is wrong, or the code was used or has expired: {SIGN_IN_AGAIN}",
    429: "too many requests",
}
USER_ADVICE = {
    401: f"the access token is not valid, or too old: {SIGN_IN_AGAIN}",
    404: "this user has no profile",
    422: "the scope openid was not asked for: the app must ask for it",
}


@attrs.frozen
class Pkce:
    """A PKCE verifier and its challenge, for apps and tests that create them here. From RFC 7636, S256."""

    verifier: Secret
    """The secret verifier."""
    challenge: str
    """The S256 challenge of the verifier."""

    @classmethod
    def new(cls) -> Pkce:
        """Create a pair from 64 random bytes."""
        verifier = secrets.token_urlsafe(VERIFIER_BYTES)
        return cls(Secret(verifier), challenge_of(verifier))


@attrs.frozen
class OAuthTokens:
    """The tokens that a code was exchanged for.

    `refresh_token`, `id_token` and `scope` are not documented; they are None unless the server sends them.
    """

    access_token: Secret
    """The token for `userinfo`."""
    expires_in: float | None = None
    """Lifetime of the access token in seconds, None if the server does not state it."""
    token_type: str = "Bearer"  # noqa: S105 - the name of a scheme
    """Type of the access token."""
    refresh_token: Secret | None = None
    """Refresh token."""
    id_token: Secret | None = None
    """OpenID Connect token. Its signature is not verified here."""
    scope: str | None = None
    """Granted scopes."""


def challenge_of(verifier: str | Secret) -> str:
    """Return the S256 challenge of a verifier.

    Args:
        verifier: The verifier.

    Returns:
        The challenge, Base64URL without padding.

    Raises:
        ValidationError: The verifier does not have the form of RFC 7636.
    """
    verifier = _secret(verifier)
    raise_problems(_check_form("verifier", verifier, VERIFIER_FORM, VERIFIER_RULE))
    return _base64url(hashlib.sha256(verifier.reveal().encode()).digest())


class OAuth:
    """Client of the OAuth server, for one client id of the developer portal.

    Opens nothing until the first request. Close it with `aclose`, or use `async with`.

    Args:
        client_id: The client id.
        options: How the server is reached.

    Raises:
        ConfigError: The client id has the wrong form.
    """

    def __init__(self, client_id: str, options: ServiceOptions | None = None) -> None:
        if not isinstance(client_id, str) or not TOKEN_FORM.fullmatch(client_id):
            raise ConfigError("client_id is not printable ASCII without spaces. Copy it from the developer portal")
        self._client_id = client_id
        self._requester = VerificationRequester(BASE_URL, options)

    async def exchange_code(self, code: str | Secret, verifier: str | Secret) -> OAuthTokens:
        """Exchange a code that the app received for tokens. A code can be used once.

        From "Truecaller for Developers: OAuth SDK, Fetching User Token".

        Args:
            code: The authorization code.
            verifier: The PKCE verifier of the challenge that the app sent.

        Returns:
            The tokens.

        Raises:
            ValidationError: An argument has the wrong form. Nothing was sent.
            Forbidden: The code, the verifier or the client id is not accepted.
            BadRequest, RateLimited, NotSent: The exchange was rejected or not sent.
            ServerError, ResponseLost, DecodeError: The exchange failed. The code may be used up.
        """
        code, verifier = _secret(code), _secret(verifier)
        raise_problems(
            _check_form("code", code, TOKEN_FORM, TOKEN_RULE),
            _check_form("verifier", verifier, VERIFIER_FORM, VERIFIER_RULE),
        )
        return await self._requester.call(self._token_request(code, verifier), self._decode_tokens)

    async def userinfo(self, access_token: str | Secret) -> UserInfo:
        """Fetch the user that an access token was issued for. The answer does not name the app of the token.

        Use only a token that `exchange_code` returned. A token that an app hands over may have been issued to another
        app. From "Truecaller for Developers: OAuth SDK, Fetching User Profile".

        Args:
            access_token: The token.

        Returns:
            The user.

        Raises:
            ValidationError: The token has the wrong form. Nothing was sent.
            AuthenticationFailed: The token is not valid.
            NotFound: The user has no profile.
            BadRequest: The app did not request the scope `openid` (status 422).
            RateLimited, ServerError, NotSent, ResponseLost, DecodeError: The request failed.
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
        found = self._tokens_or_error(answer)  # the frame that raises must not contain the server's text
        if isinstance(found, OAuthTokens):
            return found
        raise found

    def _tokens_or_error(self, answer: Answer) -> OAuthTokens | APIStatusError | DecodeError:
        if not 200 <= answer.status < 300:
            now = self._requester.options.clock.wall()
            return answer_error(answer, is_read=False, now=now, advice=TOKEN_ADVICE)
        body = object_or_empty(decode_or_none(answer.body))
        token = _token(body, "access_token")
        if token is None:
            rule = "the answer contains no access token of 1 to 4096 printable ASCII characters"
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
    if isinstance(value.reveal(), str) and form.fullmatch(value.reveal()):
        return None
    return Problem(field, f"{field}.form", message, "", "pass on what the app received, unchanged")


def _token(body: JsonObject, key: str) -> Secret | None:
    value = body.get(key)
    return Secret(value) if isinstance(value, str) and TOKEN_FORM.fullmatch(value) else None


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
