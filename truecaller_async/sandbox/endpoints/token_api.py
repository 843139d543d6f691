"""Tokens: creation, lifetime, and authentication of requests.

Documented: the texts for missing fields, a missing header and an invalid token; their statuses are inferred. Chosen by
the sandbox: missing fields are reported in the order `api_key`, `key_id`; wrong credentials are a 401
`authorization-error`. Only created tokens are counted by the mint limit. A new token does not invalidate older ones.
`X-Public-Access` is not required, because the copies of the documentation disagree.
"""

from __future__ import annotations

import random
import string
from collections import OrderedDict
from collections.abc import Mapping

import attrs
import msgspec

from truecaller_async.models import Secret
from truecaller_async.sandbox import answers
from truecaller_async.sandbox.answers import SandboxResponse, error, forbidden, invalid
from truecaller_async.sandbox.batches.records import INVALID_INPUT
from truecaller_async.sandbox.faults.response_variants import ResponseVariant
from truecaller_async.sandbox.settings import SandboxSettings
from truecaller_async.sandbox.sliding_log import ACCOUNT_HOLDER_ID, AdmissionControl

TOKEN_CHARS = 64
"""Length of a token."""
_TOKEN_LETTERS = string.ascii_letters + string.digits


class _Keys(msgspec.Struct):
    api_key: str | None = None
    key_id: str | None = None

    def __repr__(self) -> str:
        return "_Keys(***)"


@attrs.frozen
class _Token:
    number: int
    expires: float


class TokenApi:
    """Tokens of one account; `minted` counts all created tokens, which are numbered from 1."""

    def __init__(self, settings: SandboxSettings, admission: AdmissionControl, rng: random.Random) -> None:
        self._settings = settings
        self._admission = admission
        self._rng = rng
        self._tokens: OrderedDict[str, _Token] = OrderedDict()
        self.minted = 0

    def mint(self, account: str, body: bytes, now: float) -> SandboxResponse:
        """Return a new token for the account in the path, or an error."""
        rejection = self._rejection(account, body)
        if rejection is not None:
            return rejection
        wait = self._admission.admit("mint", ACCOUNT_HOLDER_ID, now)
        if wait:
            return answers.rate_limited(wait)
        self.minted += 1
        self._drop_expired(now)
        value = "".join(self._rng.choices(_TOKEN_LETTERS, k=TOKEN_CHARS))
        self._tokens[value] = _Token(self.minted, now + self._settings.token_life)
        return answers.token(value, now)

    def token_of(self, headers: Mapping[str, str], now: float) -> int | SandboxResponse:
        """Return the number of the token of a request, or an error answer."""
        header = headers.get("authorization")
        if not header:
            return error(401, "authorization-error", "Missing authorization header")
        scheme, _, value = header.partition(" ")
        token = self._tokens.get(value.strip()) if scheme.lower() == "bearer" else None
        if token is not None and now < token.expires:
            return token.number
        if ResponseVariant.PARSE_FAILURE in self._settings.response_variants:
            return answers.token_parse_failure()
        return error(401, "authorization-error", "please login again")

    def live_count(self, now: float) -> int:
        """Return the number of tokens that are valid at this time."""
        return sum(now < token.expires for token in self._tokens.values())

    def _rejection(self, account: str, body: bytes) -> SandboxResponse | None:
        try:
            keys = msgspec.json.decode(body, type=_Keys)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return invalid(INVALID_INPUT)
        for name in ("api_key", "key_id"):
            if not getattr(keys, name):
                return invalid(f"{name} is required")
        if keys.key_id != self._settings.key_id or Secret(keys.api_key or "") != self._settings.api_key:
            return error(401, "authorization-error", "key_id or api_key is wrong")
        return None if account == self._settings.client_account_id else forbidden()

    def _drop_expired(self, now: float) -> None:
        """Remove expired tokens. All tokens live equally long, so the oldest expires first."""
        while self._tokens and next(iter(self._tokens.values())).expires <= now:
            _, token = self._tokens.popitem(last=False)
            self._admission.remove(token.number)
