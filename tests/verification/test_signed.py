"""Payloads that Truecaller signed are accepted, and no others."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import cache
from typing import Any

import attrs
import looptime
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.transport.raw_server import Connection, RawServer
from truecaller_async.clock import Clock
from truecaller_async.errors import ConfigError, DecodeError, ServerError, ValidationError
from truecaller_async.models import Answer, Request, Secret
from truecaller_async.verification import MemoryNonceStore, ProfileChecks, ServiceOptions, SignedPayload, SignedProfiles
from truecaller_async.verification.signed import (
    EARLY_REFRESH_INTERVAL_SECONDS,
    FAILED_FETCH_CACHE_SECONDS,
    KEY_CACHE_SECONDS,
    _load_key,
    _signature_bytes,
    _verifies_with_any,
)

from .samples import value
from .server import FAST_RETRY, TIMEOUTS, answering, serving

VECTOR = value("sdk2_signature_vector_synthetic")
PAYLOAD, SIGNATURE = VECTOR["payload"], VECTOR["signature"]
SIGNED = SignedPayload(PAYLOAD, SIGNATURE, VECTOR["signatureAlgorithm"])
KEYS = json.dumps(VECTOR["keys_response"]).encode()
SIGNED_AT = 1508089888
NONCE = "c2FtcGxlLW5vbmNlLTAwMDE"
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="


class OffsetClock(Clock):
    """A wall clock some seconds after the payload was signed."""

    def __init__(self, after: float = 5.0) -> None:
        self.after = after

    def wall(self) -> float:
        return SIGNED_AT + self.after


@cache
def own_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def key_entry(key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey) -> dict[str, str]:
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return {"keyType": "RSA", "key": base64.b64encode(der).decode()}


def signed_with_own_key(**fields: Any) -> SignedPayload:
    """Return a payload that is signed with the test's own key."""
    profile = {"phoneNumber": "+919999999999", "requestTime": SIGNED_AT, "requestNonce": NONCE, **fields}
    return sign_with_own_key(base64.b64encode(json.dumps(profile).encode()).decode())


def sign_with_own_key(payload: str) -> SignedPayload:
    signature = own_key().sign(payload.encode(), padding.PKCS1v15(), hashes.SHA512())
    return SignedPayload(payload, base64.b64encode(signature).decode())


OWN_KEYS = json.dumps([key_entry(own_key().public_key())]).encode()


def verifier_at(server: RawServer, checks: ProfileChecks | None = None, clock: Clock | None = None) -> SignedProfiles:
    options = ServiceOptions(base_url=server.url, retry=FAST_RETRY, timeouts=TIMEOUTS, clock=clock or OffsetClock())
    return SignedProfiles(checks, options)


@pytest_asyncio.fixture
async def own_server() -> AsyncIterator[RawServer]:
    async with serving(answering(OWN_KEYS)) as server:
        yield server


async def rule_broken(profiles: SignedProfiles, signed: SignedPayload, session: str | None = None) -> str:
    async with profiles:
        with pytest.raises(ValidationError) as caught:
            await profiles.verify(signed, session)
    (problem,) = caught.value.problems
    assert "919999999999" not in str(caught.value)
    return problem.rule


async def test_vector_passes_with_keys_fetched_once() -> None:
    async with serving(answering(KEYS)) as server, verifier_at(server) as profiles:
        for _ in range(3):
            profile = await profiles.verify(SIGNED)
        assert server.received.startswith(b"GET /v1/key HTTP/1.1\r\n")
        assert server.requests == 1
    assert profile.phone_number == "919999999999"
    assert profile.request_nonce == NONCE
    assert profile.is_true_name is True


def vector_fits(payload: str, signature: str) -> bool:
    key = _load_key(VECTOR["keys_response"][0]["key"])
    assert key is not None
    try:
        return _verifies_with_any([key], payload.encode(), _signature_bytes(signature))
    except ValidationError:
        return False


def test_vector_is_consistent() -> None:
    assert vector_fits(PAYLOAD, SIGNATURE)


@given(st.integers(0, len(PAYLOAD) - 1), st.sampled_from(ALPHABET))
@settings(max_examples=300)
def test_any_changed_character_of_the_payload_fails(index: int, char: str) -> None:
    changed = PAYLOAD[:index] + char + PAYLOAD[index + 1 :]
    assert vector_fits(changed, SIGNATURE) is (changed == PAYLOAD)


def test_every_character_of_the_signature_counts_including_spare_bits() -> None:
    for index, char in enumerate(SIGNATURE):
        for other in (ALPHABET[(ALPHABET.index(char) + 1) % 65], ALPHABET[(ALPHABET.index(char) + 16) % 65], ""):
            assert not vector_fits(PAYLOAD, SIGNATURE[:index] + other + SIGNATURE[index + 1 :])


@pytest.mark.parametrize("payload", [PAYLOAD + "\n", PAYLOAD + "=", PAYLOAD[:60] + "\n" + PAYLOAD[60:], PAYLOAD[:-1]])
def test_encoded_characters_are_signed(payload: str) -> None:
    assert not vector_fits(payload, SIGNATURE)
    assert not vector_fits(base64.b64decode(PAYLOAD).decode(), SIGNATURE)


def test_line_breaks_in_the_signature_do_no_harm() -> None:
    assert vector_fits(PAYLOAD, "\r\n".join(SIGNATURE[at : at + 76] for at in range(0, len(SIGNATURE), 76)))


@pytest.mark.parametrize(
    "algorithm", ["", "SHA1withRSA", "none", "sha512withrsa", "SHA512withECDSA", "SHA512withRSA ", None, []]
)
async def test_only_the_documented_algorithm_is_allowed_and_nothing_is_fetched(
    own_server: RawServer, algorithm: Any
) -> None:
    signed = attrs.evolve(signed_with_own_key(), algorithm=algorithm)
    assert await rule_broken(verifier_at(own_server), signed) == "algorithm.allowed"
    assert own_server.connections == []


@pytest.mark.parametrize(
    ("signed", "rule"),
    [
        (SignedPayload("", SIGNATURE), "payload.form"),
        (SignedPayload("x" * 65_537, SIGNATURE), "payload.form"),
        (SignedPayload("\u00fc", SIGNATURE), "payload.form"),
        (SignedPayload(PAYLOAD, ""), "signature.form"),
        (SignedPayload(PAYLOAD, "!!!!"), "signature.form"),
        (SignedPayload(PAYLOAD, "A" * 4096), "signature.form"),
        (SignedPayload(PAYLOAD, "AAAA"), "signature.valid"),
        (SIGNED, "signature.valid"),
    ],
)
async def test_unsigned_payload_is_refused(own_server: RawServer, signed: SignedPayload, rule: str) -> None:
    assert await rule_broken(verifier_at(own_server), signed) == rule


@pytest.mark.parametrize(
    "payload", ["!!", "bm8ganNvbg==", base64.b64encode(b"[]").decode(), base64.b64encode(b"{}").decode()]
)
async def test_signed_payload_that_is_no_profile_is_refused(own_server: RawServer, payload: str) -> None:
    assert await rule_broken(verifier_at(own_server), sign_with_own_key(payload)) == "payload.form"


@pytest.mark.parametrize("after", [-60, 0, 599, 600])
async def test_payload_of_the_last_ten_minutes_is_fresh(own_server: RawServer, after: float) -> None:
    async with verifier_at(own_server, clock=OffsetClock(after)) as profiles:
        assert (await profiles.verify(signed_with_own_key())).request_nonce == NONCE


@pytest.mark.parametrize(
    ("after", "time"), [(601, SIGNED_AT), (-61, SIGNED_AT), (5, None), (5, "soon"), (5, SIGNED_AT * 1000)]
)
async def test_older_payload_or_one_without_a_time_is_not_fresh(
    own_server: RawServer, after: float, time: object
) -> None:
    profiles = verifier_at(own_server, clock=OffsetClock(after))
    assert await rule_broken(profiles, signed_with_own_key(requestTime=time)) == "requestTime.fresh"


APP_KEY, PACKAGE = "app-key", "com.example.app"
DIGEST = hmac.new(APP_KEY.encode(), PACKAGE.encode(), hashlib.sha256).digest()
APP_CHECKS = ProfileChecks(app_key=Secret(APP_KEY), package=PACKAGE)


@pytest.mark.parametrize(
    "verifier",
    [
        DIGEST.hex(),
        DIGEST.hex().upper(),
        base64.b64encode(DIGEST).decode(),
        base64.b64encode(DIGEST).decode().rstrip("="),
    ],
)
async def test_verifier_passes_in_hex_and_in_base64(own_server: RawServer, verifier: str) -> None:
    async with verifier_at(own_server, APP_CHECKS) as profiles:
        assert (await profiles.verify(signed_with_own_key(verifier=verifier))).request_nonce == NONCE


@pytest.mark.parametrize(
    "verifier", [None, "", DIGEST.hex()[:-1], base64.b64encode(DIGEST).decode().swapcase(), "\u00fc", 7]
)
async def test_missing_verifier_or_one_for_another_app_fails(own_server: RawServer, verifier: object) -> None:
    assert (
        await rule_broken(verifier_at(own_server, APP_CHECKS), signed_with_own_key(verifier=verifier))
        == "verifier.valid"
    )


async def test_nonce_is_valid_once_and_for_its_own_session(own_server: RawServer) -> None:
    store = MemoryNonceStore()
    nonce = await store.issue("session")
    signed = signed_with_own_key(requestNonce=nonce)
    checks = ProfileChecks(nonces=store)
    assert await rule_broken(verifier_at(own_server, checks), signed, "another") == "requestNonce.issued"
    async with verifier_at(own_server, checks) as profiles:
        assert (await profiles.verify(signed, "session")).request_nonce == nonce
    assert await rule_broken(verifier_at(own_server, checks), signed, "session") == "requestNonce.issued"
    assert await rule_broken(verifier_at(own_server, checks), signed_with_own_key(), "session") == "requestNonce.issued"
    with pytest.raises(ConfigError, match="session"):
        await verifier_at(own_server, checks).verify(signed)
    with pytest.raises(ConfigError, match="nonces are not checked"):
        await verifier_at(own_server).verify(signed, "session")


async def test_forgery_uses_up_no_nonce(own_server: RawServer) -> None:
    store = MemoryNonceStore()
    nonce = await store.issue("session")
    late = verifier_at(own_server, ProfileChecks(nonces=store), OffsetClock(700))
    assert await rule_broken(late, signed_with_own_key(requestNonce=nonce), "session") == "requestTime.fresh"
    forged = attrs.evolve(SIGNED, payload=signed_with_own_key(requestNonce=nonce).payload)
    assert (
        await rule_broken(verifier_at(own_server, ProfileChecks(nonces=store)), forged, "session") == "signature.valid"
    )
    assert await store.find(nonce, "session") is not None


async def test_each_of_several_keys_is_tried_and_non_rsa_keys_are_skipped() -> None:
    elliptic = key_entry(ec.generate_private_key(ec.SECP256R1()).public_key())
    keys = [None, {"key": "AAAA"}, {"key": "!"}, elliptic, *VECTOR["keys_response"], *json.loads(OWN_KEYS)]
    async with serving(answering(json.dumps(keys).encode())) as server, verifier_at(server) as profiles:
        assert (await profiles.verify(SIGNED)).request_nonce == NONCE
        assert (await profiles.verify(signed_with_own_key())).request_nonce == NONCE
        assert server.requests == 1


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b'[{"keyType": "RSA"}]', b"<html>"])
async def test_answer_without_a_key_is_a_decode_error(body: bytes) -> None:
    async with serving(answering(body)) as server, verifier_at(server) as profiles:
        with pytest.raises(DecodeError):
            await profiles.verify(SIGNED)


async def test_unreachable_host_is_an_error_and_no_refusal() -> None:
    async with serving(answering(b"", "503 Service Unavailable")) as server, verifier_at(server) as profiles:
        with pytest.raises(ServerError):
            await profiles.verify(SIGNED)
        assert server.requests == 2


class KeyServerTransport:
    """A transport that counts the fetches and returns the current keys."""

    def __init__(self) -> None:
        self.keys = KEYS
        self.status = 200
        self.fetches = 0
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def send(self, request: Request, timeouts: object) -> Answer:
        self.fetches += 1
        await asyncio.sleep(0)
        await self.may_answer.wait()
        return Answer(self.status, {}, self.keys)


Wait = Callable[[float], Awaitable[None]]


def in_virtual_time(work: Callable[[SignedProfiles, KeyServerTransport, Wait], Awaitable[None]]) -> None:
    """Run the work with a key server on a virtual clock."""

    async def run() -> None:
        server = KeyServerTransport()
        profiles = SignedProfiles(options=ServiceOptions(clock=OffsetClock()))
        profiles._requester._executor._transport = server  # type: ignore[assignment]
        await work(profiles, server, asyncio.sleep)

    loop = looptime.new_event_loop()
    try:
        loop.run_until_complete(run())
    finally:
        loop.close()


def test_keys_are_kept_for_half_an_hour() -> None:
    async def work(profiles: SignedProfiles, server: KeyServerTransport, wait: Wait) -> None:
        await profiles.verify(SIGNED)
        await wait(KEY_CACHE_SECONDS - 1)
        await profiles.verify(SIGNED)
        assert server.fetches == 1
        await wait(1)
        await profiles.verify(SIGNED)
        assert server.fetches == 2

    in_virtual_time(work)


def test_forgeries_cause_at_most_one_fetch_a_minute() -> None:
    async def work(profiles: SignedProfiles, server: KeyServerTransport, wait: Wait) -> None:
        for minute in range(1, 6):
            for _ in range(50):
                with pytest.raises(ValidationError):
                    await profiles.verify(signed_with_own_key())
            assert server.fetches == minute
            await wait(EARLY_REFRESH_INTERVAL_SECONDS)

    in_virtual_time(work)


def test_new_key_is_found_at_most_a_minute_after_the_last_fetch() -> None:
    async def work(profiles: SignedProfiles, server: KeyServerTransport, wait: Wait) -> None:
        await profiles.verify(SIGNED)
        await wait(EARLY_REFRESH_INTERVAL_SECONDS)
        server.keys = OWN_KEYS
        assert (await profiles.verify(signed_with_own_key())).request_nonce == NONCE
        assert server.fetches == 2

    in_virtual_time(work)


def test_many_calls_that_meet_a_new_key_pass_with_one_fetch() -> None:
    async def work(profiles: SignedProfiles, server: KeyServerTransport, wait: Wait) -> None:
        await profiles.verify(SIGNED)
        await wait(EARLY_REFRESH_INTERVAL_SECONDS)
        server.keys = OWN_KEYS
        passed = await asyncio.gather(*(profiles.verify(signed_with_own_key()) for _ in range(10)))
        assert len(passed) == 10
        assert server.fetches == 2

    in_virtual_time(work)


def test_forgeries_do_not_each_ask_an_unreachable_key_server() -> None:
    async def work(profiles: SignedProfiles, server: KeyServerTransport, wait: Wait) -> None:
        await profiles.verify(SIGNED)
        await wait(EARLY_REFRESH_INTERVAL_SECONDS)
        server.status = 503
        with pytest.raises(ServerError):
            await profiles.verify(signed_with_own_key())
        asked = server.fetches
        for _ in range(20):
            with pytest.raises(ValidationError):
                await profiles.verify(signed_with_own_key())
        assert server.fetches == asked
        assert (await profiles.verify(SIGNED)).request_nonce == NONCE

    in_virtual_time(work)


def test_unreachable_key_server_gets_one_shared_request_in_five_seconds() -> None:
    async def work(profiles: SignedProfiles, server: KeyServerTransport, wait: Wait) -> None:
        server.status = 503
        errors = await asyncio.gather(*(profiles.verify(SIGNED) for _ in range(20)), return_exceptions=True)
        assert {type(error) for error in errors} == {ServerError}
        asked = server.fetches
        assert asked == ServiceOptions().retry.attempts
        server.status = 200
        await wait(FAILED_FETCH_CACHE_SECONDS - 0.1)
        with pytest.raises(ServerError):
            await profiles.verify(SIGNED)
        await wait(0.1)
        assert (await profiles.verify(SIGNED)).request_nonce == NONCE
        assert server.fetches == asked + 1

    in_virtual_time(work)


def test_call_served_by_cached_keys_does_not_wait_for_a_fetch() -> None:
    async def work(profiles: SignedProfiles, server: KeyServerTransport, wait: Wait) -> None:
        await profiles.verify(SIGNED)
        await wait(EARLY_REFRESH_INTERVAL_SECONDS)
        server.may_answer.clear()
        forgery = asyncio.ensure_future(profiles.verify(signed_with_own_key()))
        await wait(1)
        assert (await profiles.verify(SIGNED)).request_nonce == NONCE
        assert not forgery.done()
        server.may_answer.set()
        with pytest.raises(ValidationError):
            await forgery

    in_virtual_time(work)


@pytest.mark.parametrize(("bits", "is_taken"), [(1023, False), (1024, True), (8192, True), (8193, False)])
def test_weak_and_oversized_keys_are_refused(bits: int, is_taken: bool) -> None:
    key = rsa.RSAPublicNumbers(65537, 2**bits - 1).public_key()
    assert (_load_key(key_entry(key)["key"]) is not None) is is_taken


async def test_concurrent_calls_fetch_the_keys_once() -> None:
    async def slowly(connection: Connection) -> None:
        await connection.request()
        await asyncio.sleep(0)
        await connection.answer(KEYS)

    async with serving(slowly) as server, verifier_at(server) as profiles:
        await asyncio.gather(*(profiles.verify(SIGNED) for _ in range(20)))
        assert server.requests == 1


def test_without_the_package_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "cryptography"]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ConfigError, match=r"truecaller-async\[verification\]"):
        SignedProfiles()


def test_invalid_check_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match="together"):
        ProfileChecks(app_key=Secret("k"))
    with pytest.raises(ConfigError, match="Secret"):
        ProfileChecks(app_key="k", package="p")  # type: ignore[arg-type]
    for max_age in (0, float("inf"), float("nan")):
        with pytest.raises(ConfigError, match="max_age"):
            ProfileChecks(max_age=max_age)
    assert "app-key" not in repr(APP_CHECKS)
    assert PAYLOAD not in repr(SIGNED)
