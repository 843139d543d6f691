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

from truecaller_async.clock import loop_time
from truecaller_async.errors import ConfigError, DecodeError, TruecallerError, ValidationError
from truecaller_async.models import Answer, Problem, Request, Secret
from truecaller_async.protocol.json_codec import readable
from truecaller_async.verification.json_fields import error_of, inner, items, object_of, text
from truecaller_async.verification.nonces import NonceStore
from truecaller_async.verification.profiles import TrueProfile, true_profile_of
from truecaller_async.verification.requester import CAP, ServiceOptions, VerificationRequester

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

BASE_URL = "https://api4.truecaller.com"

ALGORITHMS = frozenset({"SHA512withRSA"})
PAYLOAD_MAX = 64 * 1024
SIGNATURE_MAX = 2048
KEYS_MAX = 16
KEY_BITS_MIN = 1024
"""The size of the published example; smaller ones can be broken."""
KEY_BITS_MAX = 8192

KEYS_LIVE = 30 * 60.0
"""Seconds for which keys are kept."""
REFRESH_MIN = 60.0
"""Seconds between two fetches that a payload without a fitting key may cause."""
PAUSE = 5.0
"""Seconds after a fetch that failed, in which there is no other."""
FRESH = 600.0
"""Seconds."""
AHEAD_MAX = 60.0
"""Seconds by which a phone's clock may be ahead of ours."""


@attrs.frozen
class SignedPayload:
    """The three texts that the app hands over."""

    payload: str = attrs.field(repr=False)
    signature: str = attrs.field(repr=False)
    algorithm: str = "SHA512withRSA"


@attrs.frozen(kw_only=True)
class Checks:
    """What is asked beside the signature.

    With `app_key` and `package` the payload must have been made for this app. `fresh` is the age in seconds that it
    may have. With `nonces` its nonce must be one that was issued to the session, and is used up. `app_key` is also
    what the developer portal calls the partner key. Raises `ConfigError`.
    """

    app_key: Secret | None = None
    package: str | None = None
    fresh: float = FRESH
    nonces: NonceStore | None = None

    def __attrs_post_init__(self) -> None:
        if (self.app_key is None) is not (self.package is None):
            raise ConfigError("Checks needs app_key and package together: the verifier is made from both")
        if self.app_key is not None and not isinstance(self.app_key, Secret):
            raise ConfigError("Checks.app_key must be a Secret: Secret(os.environ['...'])")
        if not 0 < self.fresh < float("inf"):
            raise ConfigError("Checks.fresh must be a finite number of seconds above 0, such as 600.0")


class SignedProfiles:
    """Verifies signed profiles, with keys that it fetches and keeps.

    Without checks a payload passes that another app was given for the same user, and passes again for 10 minutes: give
    `Checks` with `app_key` and `package`, and with `nonces`.

    Raises `ConfigError` where the package `cryptography` is missing; opens nothing. Close it with `aclose`, or use
    `async with`.
    """

    def __init__(self, checks: Checks | None = None, options: ServiceOptions | None = None) -> None:
        _require_cryptography()
        self._checks = checks or Checks()
        self._service = VerificationRequester(BASE_URL, options)
        self._keys: tuple[RSAPublicKey, ...] = ()
        self._fetched = float("-inf")
        self._forced = float("-inf")
        self._failed = float("-inf")
        self._failure: TruecallerError | None = None
        self._fetching = asyncio.Lock()

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
            raise ConfigError("a session is given and no nonce is checked: give Checks(nonces=...) the store of nonces")
        await self._check_signature(signed)
        profile = _opened(signed.payload)
        self._check_verifier(profile)
        self._check_freshness(profile)
        await self._use_nonce(profile, session)
        return profile

    async def aclose(self) -> None:
        """Close the connections. May be called twice. Raises `ClientClosed` in another event loop."""
        await self._service.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def _check_signature(self, signed: SignedPayload) -> None:
        if not isinstance(signed.algorithm, str) or signed.algorithm not in ALGORITHMS:
            raise _refused("signatureAlgorithm", "algorithm.allowed", f"is not one of {', '.join(sorted(ALGORITHMS))}")
        payload, signature = _payload_bytes(signed.payload), _signature_bytes(signed.signature)
        keys = await self._current_keys()
        if _fits_any(keys, payload, signature):
            return
        if not _fits_any(await self._keys_newer_than(keys), payload, signature):
            raise _refused("signature", "signature.valid", "is not Truecaller's signature of this payload")

    async def _current_keys(self) -> Sequence[RSAPublicKey]:
        if self._live():
            return self._keys
        async with self._fetching:
            if not self._live():
                await self._fetch()
            return self._keys

    async def _keys_newer_than(self, tried: Sequence[RSAPublicKey]) -> Sequence[RSAPublicKey]:
        """The keys fetched anew, here or by another meanwhile; none where it is too early to ask."""
        async with self._fetching:
            if self._keys is tried and loop_time() - max(self._forced, self._fetched) >= REFRESH_MIN:
                self._forced = loop_time()
                await self._fetch()
            return () if self._keys is tried else self._keys

    async def _fetch(self) -> None:
        if self._failure is not None and loop_time() - self._failed < PAUSE:
            raise copy(self._failure)
        request = Request("public_keys", "GET", "/v1/key", headers={"Accept": "application/json"}, body_max_bytes=CAP)
        try:
            self._keys = await self._service.call(request, self._read_keys)
        except TruecallerError as error:
            self._failed, self._failure = loop_time(), copy(error)
            raise
        self._fetched, self._failure = loop_time(), None

    def _live(self) -> bool:
        return loop_time() - self._fetched < KEYS_LIVE

    def _read_keys(self, answer: Answer) -> tuple[RSAPublicKey, ...]:
        if not 200 <= answer.status < 300:
            raise error_of(answer, is_read=True, now=self._service.options.clock.wall(), advice={})
        found = [_key(text(inner(one), "key")) for one in items(readable(answer.body))[:KEYS_MAX]]
        keys = tuple(key for key in found if key is not None)
        if not keys:
            raise DecodeError("the answer has no public RSA key", path="$[*].key", status=answer.status)
        return keys

    def _check_verifier(self, profile: TrueProfile) -> None:
        app_key, package = self._checks.app_key, self._checks.package
        if app_key is None or package is None:
            return
        made = hmac.new(app_key.reveal().encode(), package.encode(), hashlib.sha256).digest()
        if not _is_spelling_of(text(profile.raw, "verifier") or "", made):
            hint = "check app_key and package"
            raise _refused("verifier", "verifier.valid", "is missing, or was not made for this app", hint)

    def _check_freshness(self, profile: TrueProfile) -> None:
        at = profile.requested_at
        age = None if at is None else self._service.options.clock.wall() - at.timestamp()
        if age is None or not -AHEAD_MAX <= age <= self._checks.fresh:
            rule = f"is missing, or not within the last {self._checks.fresh:g} s"
            raise _refused("requestTime", "requestTime.fresh", rule, "the user must start again")

    async def _use_nonce(self, profile: TrueProfile, session: str | None) -> None:
        store = self._checks.nonces
        if store is None or session is None:
            return
        if await store.consume(profile.request_nonce or "", session) is None:
            rule = "was not issued to this session, is too old, or was used"
            raise _refused("requestNonce", "requestNonce.issued", rule, "the user must start again")


def _require_cryptography() -> None:
    try:
        import cryptography.hazmat.primitives.asymmetric.rsa  # noqa: F401 - it is enough that it is there
    except ImportError:
        raise ConfigError(
            "signed profiles need the package cryptography: pip install 'truecaller-async[verification]'"
        ) from None


def _key(encoded: str | None) -> RSAPublicKey | None:
    """The RSA key of an entry, None for one of another kind or size."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from cryptography.hazmat.primitives.serialization import load_der_public_key

    try:
        key = load_der_public_key(base64.b64decode(encoded or "", validate=True))
    except (ValueError, UnsupportedAlgorithm):
        return None
    return key if isinstance(key, RSAPublicKey) and KEY_BITS_MIN <= key.key_size <= KEY_BITS_MAX else None


def _fits_any(keys: Iterable[RSAPublicKey], payload: bytes, signature: bytes) -> bool:
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
    if not isinstance(payload, str) or not payload.isascii() or not 0 < len(payload) <= PAYLOAD_MAX:
        raise _refused("payload", "payload.form", f"is not 1 to {PAYLOAD_MAX} characters of Base64")
    return payload.encode()


def _signature_bytes(signature: str) -> bytes:
    """The bytes of a signature in the one right spelling; line breaks are let through."""
    joined = signature.replace("\r", "").replace("\n", "") if isinstance(signature, str) else ""
    decoded = _decoded(joined) if len(joined) <= SIGNATURE_MAX else None
    if not decoded or base64.b64encode(decoded).decode() != joined:
        raise _refused("signature", "signature.form", "is not Base64 in its one spelling")
    return decoded


def _decoded(encoded: str) -> bytes | None:
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        return None


def _opened(payload: str) -> TrueProfile:
    decoded = _decoded(payload)
    try:
        return true_profile_of(object_of(None if decoded is None else readable(decoded)))
    except DecodeError as error:
        where = error.path
    raise _refused("payload", "payload.form", f"is signed, and is not a profile (at {where})")


def _is_spelling_of(verifier: str, made: bytes) -> bool:
    """Whether it is these bytes in hex or Base64; which of them is not documented."""
    said = verifier.encode("utf-8", "replace")
    standard = base64.b64encode(made)
    spellings = (made.hex().encode(), standard, standard.rstrip(b"="), base64.urlsafe_b64encode(made))
    hexadecimal = said.lower()
    matches = [hmac.compare_digest(said, spelling) for spelling in spellings]
    return any([*matches, hmac.compare_digest(hexadecimal, spellings[0])])


def _refused(field: str, rule: str, message: str, hint: str = "treat the user as not verified") -> ValidationError:
    return ValidationError([Problem(field, rule, message, "", hint)])
