"""A profile that the app signed: SDK 2.x and iOS.

The app hands over three texts: the payload (Base64 of JSON), a signature, and the name of an algorithm. Whether
Truecaller signed it is found here, with public keys that are fetched. What is signed are the characters of the Base64
text and not the JSON inside; so the payload is taken as it came, and a line break in it is a forgery. The name of the
algorithm is compared with the one that is allowed, and chooses nothing. A signature has one spelling: Base64 leaves
room for several, and a changed character must never pass.

A true signature only says that Truecaller said so, to somebody, at some time. Three more questions make it a sign-in:

    verifier    was it said to this app? an HMAC over the package name with the app key
    freshness   was it said now? `requestTime` within 10 minutes
    nonce       was it said to this browser, and for the first time? asked last, so that a forgery uses up nothing

Keys are kept for 30 minutes. A payload that no key fits may be signed with a newer one, or be a forgery: the keys are
then fetched again, once a minute at most, or forged payloads would make this server hammer Truecaller's. Whom the kept
keys serve does not wait for that fetch. A fetch that failed is not repeated for 5 seconds: all who ask meanwhile are
told of the same failure.

The arithmetic is that of the package `cryptography`, the extra `verification`, which is loaded only here.
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

from truecaller_async.errors import ConfigError, DecodeError, TruecallerError, ValidationError
from truecaller_async.models import Answer, Problem, Request, Secret
from truecaller_async.protocol.json_codec import readable
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
"""The size of the published example; smaller ones can be broken."""
KEY_MAX_BITS = 8192

KEY_CACHE_SECONDS = 30 * 60.0
"""Seconds for which keys are kept."""
EARLY_REFRESH_INTERVAL_SECONDS = 60.0
"""Seconds between two fetches that a payload without a fitting key may cause."""
FAILED_FETCH_CACHE_SECONDS = 5.0
"""Seconds after a fetch that failed, in which there is no other."""
PAYLOAD_MAX_AGE_SECONDS = 600.0
"""Seconds."""
CLOCK_AHEAD_MAX_SECONDS = 60.0
"""Seconds by which a phone's clock may be ahead of ours."""


@attrs.frozen
class SignedPayload:
    """The three texts that the app hands over."""

    payload: str = attrs.field(repr=False)
    signature: str = attrs.field(repr=False)
    algorithm: str = "SHA512withRSA"


@attrs.frozen(kw_only=True)
class ProfileChecks:
    """What is asked beside the signature.

    With `app_key` and `package` the payload must have been made for this app. `fresh` is the age in seconds that it
    may have. With `nonces` its nonce must be one that was issued to the session, and is used up. `app_key` is also
    what the developer portal calls the partner key. Raises `ConfigError`.
    """

    app_key: Secret | None = None
    package: str | None = None
    max_age: float = PAYLOAD_MAX_AGE_SECONDS
    nonces: NonceStore | None = None

    def __attrs_post_init__(self) -> None:
        if (self.app_key is None) is not (self.package is None):
            raise ConfigError("ProfileChecks needs app_key and package together: the verifier is made from both")
        if self.app_key is not None and not isinstance(self.app_key, Secret):
            raise ConfigError("ProfileChecks.app_key must be a Secret: Secret(os.environ['...'])")
        if not 0 < self.max_age < float("inf"):
            raise ConfigError("ProfileChecks.max_age must be a finite number of seconds above 0, such as 600.0")


class SignedProfiles:
    """Verifies signed profiles, with keys that it fetches and keeps.

    Without checks a payload passes that another app was given for the same user, and passes again for 10 minutes: give
    `Checks` with `app_key` and `package`, and with `nonces`.

    Raises `ConfigError` where the package `cryptography` is missing; opens nothing. Close it with `aclose`, or use
    `async with`.
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
        """The profile, if all that is asked of it holds. `session` is the browser's or the app's own, for the nonce.

        From "Truecaller for Developers: Server Side Response Validation". Raises `ValidationError` whose problem names
        the rule that does not hold: `algorithm.allowed`, `signature.form`, `signature.valid`, `payload.form`,
        `verifier.valid`, `requestTime.fresh`, `requestNonce.issued`; `ConfigError` where nonces are checked and no
        session is given, or the other way round; and where keys had to be fetched `ServerError`, `NotSent`,
        `ResponseLost`, `DecodeError`.
        """
        if self._checks.nonces is not None and session is None:
            raise ConfigError("nonces are checked here: give verify() the session that the nonce was issued to")
        if self._checks.nonces is None and session is not None:
            raise ConfigError(
                "a session is given and no nonce is checked: give ProfileChecks(nonces=...) the store of nonces"
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
        """The keys fetched anew, here or by another meanwhile; none where it is too early to ask."""
        async with self._fetch_lock:
            if (
                self._keys is tried_keys
                and self._now() - max(self._refreshed_at, self._fetched_at) >= EARLY_REFRESH_INTERVAL_SECONDS
            ):
                self._refreshed_at = self._now()
                await self._fetch()
            return () if self._keys is tried_keys else self._keys

    async def _fetch(self) -> None:
        if self._failure is not None and self._now() - self._failed_at < FAILED_FETCH_CACHE_SECONDS:
            raise copy(self._failure)
        request = Request(
            "public_keys", "GET", "/v1/key", headers={"Accept": "application/json"}, body_max_bytes=ANSWER_MAX_BYTES
        )
        try:
            self._keys = await self._requester.call(request, self._decode_keys)
        except TruecallerError as error:
            self._failed_at, self._failure = self._now(), copy(error)
            raise
        self._fetched_at, self._failure = self._now(), None

    def _keys_are_current(self) -> bool:
        return self._now() - self._fetched_at < KEY_CACHE_SECONDS

    def _decode_keys(self, answer: Answer) -> tuple[RSAPublicKey, ...]:
        if not 200 <= answer.status < 300:
            raise answer_error(answer, is_read=True, now=self._requester.options.clock.wall(), advice={})
        found = [
            _load_key(text_field(object_or_empty(one), "key"))
            for one in list_or_empty(readable(answer.body))[:KEYS_MAX]
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
            raise _error("verifier", "verifier.valid", "is missing, or was not made for this app", hint)

    def _check_age(self, profile: TrueProfile) -> None:
        at = profile.requested_at
        age = None if at is None else self._requester.options.clock.wall() - at.timestamp()
        if age is None or not -CLOCK_AHEAD_MAX_SECONDS <= age <= self._checks.max_age:
            rule = f"is missing, or not within the last {self._checks.max_age:g} s"
            raise _error("requestTime", "requestTime.fresh", rule, "the user must start again")

    async def _consume_nonce(self, profile: TrueProfile, session: str | None) -> None:
        store = self._checks.nonces
        if store is None or session is None:
            return
        if await store.consume(profile.request_nonce or "", session) is None:
            rule = "was not issued to this session, is too old, or was used"
            raise _error("requestNonce", "requestNonce.issued", rule, "the user must start again")

    def _now(self) -> float:
        return asyncio.get_running_loop().time()


def _require_cryptography() -> None:
    try:
        import cryptography.hazmat.primitives.asymmetric.rsa  # noqa: F401 - it is enough that it is there
    except ImportError:
        raise ConfigError(
            "signed profiles need the package cryptography: pip install 'truecaller-async[verification]'"
        ) from None


def _load_key(encoded: str | None) -> RSAPublicKey | None:
    """The RSA key of an entry, None for one of another kind or size."""
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
    """The bytes of a signature in the one right spelling; line breaks are let through."""
    joined = signature.replace("\r", "").replace("\n", "") if isinstance(signature, str) else ""
    decoded = _decode_base64(joined) if len(joined) <= SIGNATURE_MAX_CHARS else None
    if not decoded or base64.b64encode(decoded).decode() != joined:
        raise _error("signature", "signature.form", "is not Base64 in its one spelling")
    return decoded


def _decode_base64(encoded: str) -> bytes | None:
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        return None


def _decode_profile(payload: str) -> TrueProfile:
    decoded = _decode_base64(payload)
    try:
        return true_profile_of(require_object(None if decoded is None else readable(decoded)))
    except DecodeError as error:
        where = error.path
    raise _error("payload", "payload.form", f"is signed, and is not a profile (at {where})")


def _encodes(verifier: str, digest: bytes) -> bool:
    """Whether it is these bytes in hex or Base64; which of them is not documented."""
    given = verifier.encode("utf-8", "replace")
    standard = base64.b64encode(digest)
    encodings = (digest.hex().encode(), standard, standard.rstrip(b"="), base64.urlsafe_b64encode(digest))
    hexadecimal = given.lower()
    matches = [hmac.compare_digest(given, encoding) for encoding in encodings]
    return any([*matches, hmac.compare_digest(hexadecimal, encodings[0])])


def _error(field: str, rule: str, message: str, hint: str = "treat the user as not verified") -> ValidationError:
    return ValidationError([Problem(field, rule, message, "", hint)])
