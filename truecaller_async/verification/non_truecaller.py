"""Look up the phone number behind an access token, for users without the app. India only.

The SDK verifies a number by a dropped call or a one-time password and gives the app an access token. The backend asks
which number the token belongs to. There are two SDKs with two request forms, and each token is known to its own form
only:

    OAuth SDK 3   header clientId, path with the segment `client`
    SDK 2         header appKey, path without it

Failure modes:
    - Both wrong credentials and a wrong token are answered with 404. The `code` in the body tells them apart: 404 for
      the credentials, 1404 for the token.
"""

from __future__ import annotations

import re
from typing import Self
from urllib.parse import quote

from truecaller_async.errors import AuthenticationFailed, ConfigError, NotFound, TruecallerError
from truecaller_async.models import Answer, Problem, Request, Secret
from truecaller_async.protocol.arguments import raise_problems
from truecaller_async.protocol.json_codec import decode_or_none
from truecaller_async.verification.callbacks import TOKEN_FORM
from truecaller_async.verification.json_fields import decode_answer, exact_int, object_or_empty
from truecaller_async.verification.profiles import VerifiedNumber, verified_number_of
from truecaller_async.verification.requester import ANSWER_MAX_BYTES, ServiceOptions, VerificationRequester

BASE_URL = "https://sdk-otp-verification-noneu.truecaller.com"
PATH_SDK_3 = "/v1/otp/client/installation/phoneNumberDetail/"
PATH_SDK_2 = "/v1/otp/installation/phoneNumberDetail/"

ACCESS_TOKEN_FORM = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._~=-]{1,512}", re.ASCII)
"""The documentation shows a UUID. No `/`, also not encoded: it would lead to another path."""

BAD_CREDENTIALS_CODE = 404
BAD_TOKEN_CODE = 1404
ADVICE = {404: "there is no such path: check the variant of the SDK"}


class NonTruecallerUsers:
    """Client of the server that knows the verified numbers.

    Opens nothing until the first request. Close it with `aclose`, or use `async with`.

    Args:
        client_id: The client id of the OAuth SDK 3.
        app_key: The app key of SDK 2. Give one of the two.
        options: How the server is reached.

    Raises:
        ConfigError: Not exactly one of the two is given, or it has the wrong form.
    """

    def __init__(
        self,
        *,
        client_id: str | None = None,
        app_key: str | Secret | None = None,
        options: ServiceOptions | None = None,
    ) -> None:
        if (client_id is None) is (app_key is None):
            raise ConfigError(
                "exactly one of client_id and app_key is required: give client_id for the OAuth SDK 3, or app_key for "
                "SDK 2"
            )
        header, path, given = (
            ("clientId", PATH_SDK_3, client_id) if client_id is not None else ("appKey", PATH_SDK_2, app_key)
        )
        self._credential = given if isinstance(given, Secret) else Secret(given or "")
        if not isinstance(self._credential.reveal(), str) or not TOKEN_FORM.fullmatch(self._credential.reveal()):
            raise ConfigError(f"{header} is not printable ASCII without spaces. Copy it from the developer portal")
        self._header = header
        self._path = path
        self._requester = VerificationRequester(BASE_URL, options)

    async def phone_number(self, access_token: str | Secret) -> VerifiedNumber:
        """Return the number that an access token was issued for.

        From "Truecaller for Developers: Server Side Validation".

        Args:
            access_token: The token that the app received.

        Returns:
            The number and its country.

        Raises:
            ValidationError: The token has the wrong form. Nothing was sent.
            AuthenticationFailed: The client id or the app key is not accepted (404 with code 404).
            NotFound: The access token is not accepted (404 with code 1404).
            RateLimited, ServerError, NotSent, ResponseLost, DecodeError: The request failed.
        """
        access_token = access_token if isinstance(access_token, Secret) else Secret(access_token)
        raise_problems(_check_token(access_token))
        try:
            return await self._requester.call(self._request(access_token), self._decode)
        except TruecallerError as error:
            failure = error
        raise failure.with_traceback(None)  # the dropped frames contain the path, and the path contains the token

    async def aclose(self) -> None:
        """Close the connections. May be called twice. Raises `ClientClosed` in another event loop."""
        await self._requester.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def _request(self, token: Secret) -> Request:
        headers = {"Accept": "application/json", self._header: self._credential.reveal()}
        path = self._path + quote(token.reveal(), safe="")
        return Request("phone_number", "GET", path, headers=headers, body_max_bytes=ANSWER_MAX_BYTES)

    def _decode(self, answer: Answer) -> VerifiedNumber:
        code = exact_int(object_or_empty(decode_or_none(answer.body)).get("code")) if answer.status == 404 else None
        if code == BAD_CREDENTIALS_CODE:
            message = f"Invalid partner credentials: check the {self._header} and the variant of the SDK"
            raise AuthenticationFailed(404, str(code), message)
        if code == BAD_TOKEN_CODE:
            raise NotFound(404, str(code), "Invalid access token: the user must verify the number again")
        now = self._requester.options.clock.wall()
        return decode_answer(verified_number_of, answer, is_read=True, now=now, advice=ADVICE)


def _check_token(token: Secret) -> Problem | None:
    if isinstance(token.reveal(), str) and ACCESS_TOKEN_FORM.fullmatch(token.reveal()):
        return None
    message = "is not 1 to 512 letters, digits and the characters . _ ~ = -"
    return Problem("access_token", "access_token.form", message, "", "pass on what the app received, unchanged")
