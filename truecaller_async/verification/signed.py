"""Verify profiles that the app signed: SDK 2.x and iOS.

The app gives three texts: the payload (Base64 of JSON), a signature, and the name of the algorithm.

Algorithm:
    1. Check the signature with Truecaller's public keys. The signed bytes are the characters of the Base64 text, so the
    payload is used unchanged. The algorithm name is only compared with the allowed one.
    2. Verifier: the payload was made for this app (an HMAC over the package name with the app key).
    3. Age: `requestTime` is within the last 10 minutes.
    4. Nonce: it was issued to this session and not used. Checked last, so that a forged payload uses up no nonce.
Invariants:
    - A signature has one accepted encoding. Base64 allows several, and a changed character must not pass.
    - Keys are cached for 30 minutes. If no cached key fits, the keys are fetched again, at most once a minute;
      otherwise forged payloads would cause a request each. Payloads that fit a cached key do not wait for that fetch.
    - After a failed fetch the same error is raised for 5 seconds, without a request.

The cryptography is that of the package `cryptography` (extra `verification`), which is imported only here.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable, Sequence
from copy import copy
from typing import TYPE_CHECKING, Self

import attrs

from truecaller_async.clock import loop_time
from truecaller_async.errors import ConfigError, DecodeError, TruecallerError, ValidationError
from truecaller_async.models import Answer, Problem, Request, Secret
from truecaller_async.protocol.json_codec import decode_or_none
from truecaller_async.verification.json_fields import (
    answer_error,
    list_or_empty,
    object_or_empty,
    require_object,
    text_field,
)
from truecaller_async.verification.nonces import NonceStore
from truecaller_async.verification.profiles import TrueProfile, true_profile_of
from truecaller_async.verification.requester import ANSWER_MAX_BYTES, ServiceOptions, VerificationRequester

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

BASE_URL = "https://api4.truecaller.com"

ALGORITHMS = frozenset({"SHA512withRSA"})
PAYLOAD_MAX_CHARS = 64 * 1024
SIGNATURE_MAX_CHARS = 2048
KEYS_MAX = 16
KEY_MIN_BITS = 1024
"""Size of the documented example key. Smaller keys can be broken."""
KEY_MAX_BITS = 8192

KEY_CACHE_SECONDS = 30 * 60.0
"""How long fetched keys are used."""
EARLY_REFRESH_INTERVAL_SECONDS = 60.0
"""Minimum time between two fetches that are caused by payloads without a matching key."""
FAILED_FETCH_CACHE_SECONDS = 5.0
"""How long the error of a failed fetch is raised again without a request."""
PAYLOAD_MAX_AGE_SECONDS = 600.0
"""Default of `ProfileChecks.max_age`."""
CLOCK_AHEAD_MAX_SECONDS = 60.0
"""How far the clock of a phone may be ahead of the local clock."""


@attrs.frozen
class SignedPayload:
    """The three texts that the app gives."""

    payload: str = attrs.field(repr=False)
    """Base64 of the profile as JSON."""
    signature: str = attrs.field(repr=False)
    """Base64 of the signature."""
    algorithm: str = "SHA512withRSA"
    """Name of the signature algorithm."""


@attrs.frozen(kw_only=True)
class ProfileChecks:
    """Checks beside the signature.

    Raises:
        ConfigError: Only one of `app_key` and `package` is given, or a value has the wrong type or range.
    """

    app_key: Secret | None = None
    """App key of the developer portal, also called partner key. With it the payload must have been made for this app.
    """
    package: str | None = None
    """Package name of the app. Required with `app_key`."""
    max_age: float = PAYLOAD_MAX_AGE_SECONDS
    """Largest accepted age of the payload, in seconds."""
    nonces: NonceStore | None = None
    """Store of nonces. With it the nonce of the payload must have been issued to the session, and is used up."""

    def __attrs_post_init__(self) -> None:
        if (self.app_key is None) is not (self.package is None):
            raise ConfigError("ProfileChecks needs app_key and package together: the verifier is made from both")
        if self.app_key is not None and not isinstance(self.app_key, Secret):
            raise ConfigError("ProfileChecks.app_key must be a Secret: Secret(os.environ['...'])")
        if not 0 < self.max_age < float("inf"):
            raise ConfigError("ProfileChecks.max_age must be a finite number of seconds above 0, such as 600.0")


class SignedProfiles:
    """Verifies signed profiles, with public keys that it fetches and caches.

    Without checks, a payload that was made for another app is accepted, and a payload can be replayed for 10 minutes.
    Give `ProfileChecks` with `app_key` and `package`, and with `nonces`.

    Opens nothing until the first request. Close it with `aclose`, or use `async with`.

    Args:
        checks: Checks beside the signature.
        options: How the server of the keys is reached.

    Raises:
        ConfigError: The package `cryptography` is not installed.
    """

    def __init__(self, checks: ProfileChecks | None = None, options: ServiceOptions | None = None) -> None:
        _require_cryptography()
        self._checks = checks or ProfileChecks()
        self._requester = VerificationRequester(BASE_URL, options)
        self._keys: tuple[RSAPublicKey, ...] = ()
        self._fetched_at = float("-inf")
        self._refreshed_at = float("-inf")
        self._failed_at = float("-inf")
        self._failure: TruecallerError | None = None
        self._fetch_lock = asyncio.Lock()

    async def verify(self, signed: SignedPayload, session: str | None = None) -> TrueProfile:
        """Return the profile if the signature and all checks are valid.

        From "Truecaller for Developers: Server Side Response Validation".

        Args:
            signed: The three texts that the app gave.
            session: The session that the nonce was issued to; required if nonces are checked, otherwise None.

        Returns:
            The profile.

        Raises:
            ValidationError: A check failed. The rule of its problem is one of `algorithm.allowed`, `signature.form`,
                `signature.valid`, `payload.form`, `verifier.valid`, `requestTime.fresh`, `requestNonce.issued`.
            ConfigError: Nonces are checked and no session is given, or a session is given and nonces are not checked.
            ServerError, NotSent, ResponseLost, DecodeError: The public keys could not be fetched.
        """
        if self._checks.nonces is not None and session is None:
            raise ConfigError(
                "verify() got no session, but nonces are checked. Give the session that the nonce was issued to"
            )
        if self._checks.nonces is None and session is not None:
            raise ConfigError(
                "verify() got a session, but nonces are not checked: give ProfileChecks(nonces=...) the store"
            )
        await self._check_signature(signed)
        profile = _decode_profile(signed.payload)
        self._check_verifier(profile)
        self._check_age(profile)
        await self._consume_nonce(profile, session)
        return profile

    async def aclose(self) -> None:
        """Close the connections. May be called twice. Raises `ClientClosed` in another event loop."""
        await self._requester.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def _check_signature(self, signed: SignedPayload) -> None:
        if not isinstance(signed.algorithm, str) or signed.algorithm not in ALGORITHMS:
            raise _error("signatureAlgorithm", "algorithm.allowed", f"is not one of {', '.join(sorted(ALGORITHMS))}")
        payload, signature = _payload_bytes(signed.payload), _signature_bytes(signed.signature)
        keys = await self._current_keys()
        if _verifies_with_any(keys, payload, signature):
            return
        if not _verifies_with_any(await self._keys_newer_than(keys), payload, signature):
            raise _error("signature", "signature.valid", "is not Truecaller's signature of this payload")

    async def _current_keys(self) -> Sequence[RSAPublicKey]:
        if self._keys_are_current():
            return self._keys
        async with self._fetch_lock:
            if not self._keys_are_current():
                await self._fetch()
            return self._keys

    async def _keys_newer_than(self, tried_keys: Sequence[RSAPublicKey]) -> Sequence[RSAPublicKey]:
        """Return keys newer than `tried_keys`. Empty if it is too early to fetch."""
        async with self._fetch_lock:
            if (
                self._keys is tried_keys
                and loop_time() - max(self._refreshed_at, self._fetched_at) >= EARLY_REFRESH_INTERVAL_SECONDS
            ):
                self._refreshed_at = loop_time()
                await self._fetch()
            return () if self._keys is tried_keys else self._keys

    async def _fetch(self) -> None:
        if self._failure is not None and loop_time() - self._failed_at < FAILED_FETCH_CACHE_SECONDS:
            raise copy(self._failure)
        request = Request(
            "public_keys", "GET", "/v1/key", headers={"Accept": "application/json"}, body_max_bytes=ANSWER_MAX_BYTES
        )
        try:
            self._keys = await self._requester.call(request, self._decode_keys)
        except TruecallerError as error:
            self._failed_at, self._failure = loop_time(), copy(error)
            raise
        self._fetched_at, self._failure = loop_time(), None

    def _keys_are_current(self) -> bool:
        return loop_time() - self._fetched_at < KEY_CACHE_SECONDS

    def _decode_keys(self, answer: Answer) -> tuple[RSAPublicKey, ...]:
        if not 200 <= answer.status < 300:
            raise answer_error(answer, is_read=True, now=self._requester.options.clock.wall(), advice={})
        found = [
            _load_key(text_field(object_or_empty(one), "key"))
            for one in list_or_empty(decode_or_none(answer.body))[:KEYS_MAX]
        ]
        keys = tuple(key for key in found if key is not None)
        if not keys:
            raise DecodeError("the answer has no public RSA key", path="$[*].key", status=answer.status)
        return keys

    def _check_verifier(self, profile: TrueProfile) -> None:
        app_key, package = self._checks.app_key, self._checks.package
        if app_key is None or package is None:
            return
        digest = hmac.new(app_key.reveal().encode(), package.encode(), hashlib.sha256).digest()
        if not _encodes(text_field(profile.raw, "verifier") or "", digest):
            hint = "check app_key and package"
            raise _error("verifier", "verifier.valid", "is missing, or was made for another app", hint)

    def _check_age(self, profile: TrueProfile) -> None:
        at = profile.requested_at
        age = None if at is None else self._requester.options.clock.wall() - at.timestamp()
        if age is None or not -CLOCK_AHEAD_MAX_SECONDS <= age <= self._checks.max_age:
            rule = f"is missing, or is not within the last {self._checks.max_age:g} s"
            raise _error("requestTime", "requestTime.fresh", rule, "the user must start again")

    async def _consume_nonce(self, profile: TrueProfile, session: str | None) -> None:
        store = self._checks.nonces
        if store is None or session is None:
            return
        if await store.consume(profile.request_nonce or "", session) is None:
            rule = "was not issued to this session, has expired, or was used"
            raise _error("requestNonce", "requestNonce.issued", rule, "the user must start again")


def _require_cryptography() -> None:
    try:
        import cryptography.hazmat.primitives.asymmetric.rsa  # noqa: F401 - only its presence is checked
    except ImportError:
        raise ConfigError(
            "signed profiles need the package cryptography, which is not installed: "
            "pip install 'truecaller-async[verification]'"
        ) from None


# The functions below import `cryptography` themselves: it is an optional dependency, and importing this module must
# work without it.


def _load_key(encoded: str | None) -> RSAPublicKey | None:
    """Return the RSA key of an entry. None if it is of another kind or size."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from cryptography.hazmat.primitives.serialization import load_der_public_key

    try:
        key = load_der_public_key(base64.b64decode(encoded or "", validate=True))
    except (ValueError, UnsupportedAlgorithm):
        return None
    return key if isinstance(key, RSAPublicKey) and KEY_MIN_BITS <= key.key_size <= KEY_MAX_BITS else None


def _verifies_with_any(keys: Iterable[RSAPublicKey], payload: bytes, signature: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.hashes import SHA512

    for key in keys:
        try:
            key.verify(signature, payload, PKCS1v15(), SHA512())
        except InvalidSignature:
            continue
        return True
    return False


def _payload_bytes(payload: str) -> bytes:
    if not isinstance(payload, str) or not payload.isascii() or not 0 < len(payload) <= PAYLOAD_MAX_CHARS:
        raise _error("payload", "payload.form", f"is not 1 to {PAYLOAD_MAX_CHARS} characters of Base64")
    return payload.encode()


def _signature_bytes(signature: str) -> bytes:
    """Decode a signature that has the canonical Base64 encoding. Line breaks are ignored."""
    joined = signature.replace("\r", "").replace("\n", "") if isinstance(signature, str) else ""
    decoded = _decode_base64(joined) if len(joined) <= SIGNATURE_MAX_CHARS else None
    if not decoded or base64.b64encode(decoded).decode() != joined:
        raise _error("signature", "signature.form", "is not canonical Base64")
    return decoded


def _decode_base64(encoded: str) -> bytes | None:
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        return None


def _decode_profile(payload: str) -> TrueProfile:
    decoded = _decode_base64(payload)
    try:
        return true_profile_of(require_object(None if decoded is None else decode_or_none(decoded)))
    except DecodeError as error:
        path = error.path
    raise _error("payload", "payload.form", f"is signed but is not a profile (at {path})")


def _encodes(verifier: str, digest: bytes) -> bool:
    """Return whether the verifier is this digest in hex or Base64. The encoding is not documented."""
    given = verifier.encode("utf-8", "replace")
    standard = base64.b64encode(digest)
    encodings = (digest.hex().encode(), standard, standard.rstrip(b"="), base64.urlsafe_b64encode(digest))
    hexadecimal = given.lower()
    matches = [hmac.compare_digest(given, encoding) for encoding in encodings]
    return any([*matches, hmac.compare_digest(hexadecimal, encodings[0])])


def _error(field: str, rule: str, message: str, hint: str = "treat the user as not verified") -> ValidationError:
    return ValidationError([Problem(field, rule, message, "", hint)])
