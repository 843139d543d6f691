"""The sign-in of a mobile website over real sockets. A forged callback has no effect."""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Sequence
from typing import Any

import attrs
import pytest

from tests.transport.raw_server import Connection, RawServer, Script
from truecaller_async.errors import (
    AuthenticationFailed,
    ConfigError,
    DeadlineExceeded,
    DecodeError,
    NotSent,
    ResponseLost,
    ServerError,
    TruecallerError,
    UnexpectedRedirect,
    ValidationError,
)
from truecaller_async.options import RetryPolicy
from truecaller_async.verification import (
    CallbackAnswer,
    Endpoints,
    LinkStyle,
    MemoryNonceStore,
    MobileWeb,
    MobileWebOptions,
    Profile,
    ServiceOptions,
    SignIn,
    SignInStatus,
)

from .hostile_endpoints import ALLOWED, NOT_ALLOWED
from .samples import sample
from .server import FAST_RETRY, TIMEOUTS, answering, disconnecting, header, serving

TOKEN = "c4n4ry-t0k3n-f0r-0n3-pr0f1l3"
BROWSER, OTHER = "session-of-a-browser", "session-of-another"
PROFILE = sample("mobile_web_profile_response")
OK = CallbackAnswer(200, b"{}")
SERVICE = ServiceOptions(retry=FAST_RETRY, timeouts=TIMEOUTS)


def callback(nonce: str, **fields: object) -> bytes:
    return json.dumps({"requestId": nonce, **fields}).encode()


def granted(nonce: str, endpoint: str = ALLOWED[0]) -> bytes:
    return callback(nonce, accessToken=TOKEN, endpoint=endpoint)


@attrs.define
class NetworkLog:
    """The resolved names, and the addresses of the attempted connections."""

    names: list[str] = attrs.field(factory=list)
    addresses: list[str] = attrs.field(factory=list)


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> NetworkLog:
    """Record and refuse every connection."""
    seen = NetworkLog()

    async def refuse(addr_infos: Sequence[Any], **_: Any) -> object:
        seen.addresses.extend(info[4][0] for info in addr_infos)
        raise ConnectionRefusedError(111, "refused")

    monkeypatch.setattr("aiohttp.connector.aiohappyeyeballs.start_connection", refuse)
    return seen


def site(network: NetworkLog, *answers: str, **options: Any) -> MobileWeb:
    """Return a site with the default endpoints and a resolver that gives these addresses in turn.

    Without addresses each name has a public one.
    """
    leads_to = answers or ("8.8.4.4",)

    async def resolve(host: str, port: int) -> list[str]:
        network.names.append(host)
        return [leads_to[min(len(network.names), len(leads_to)) - 1]]

    return MobileWeb("key", "Harbour Bank", MobileWebOptions(resolve=resolve, service=SERVICE, **options))


def site_at(server: RawServer, **options: Any) -> MobileWeb:
    """Return a site that fetches profiles from this server."""
    endpoints = Endpoints(hosts=(f"127.0.0.1:{server.port}",), allow_loopback=True)
    return MobileWeb("key", "Harbour Bank", MobileWebOptions(endpoints=endpoints, service=SERVICE, **options))


async def signed_in(server: RawServer, **options: Any) -> SignIn:
    """Run one complete sign-in."""
    login = site_at(server, **options)
    nonce = (await login.begin(BROWSER)).nonce
    assert await login.handle_callback(granted(nonce, f"{server.url}/v1/default")) == OK
    return await login.poll(nonce, BROWSER)


async def test_sign_in_from_the_link_to_the_profile() -> None:
    async with serving(answering(PROFILE)) as server:
        login = site_at(server, style=LinkStyle(lang="hi"))
        link = await login.begin(BROWSER)
        assert f"requestNonce={link.nonce}&partnerKey=key&partnerName=Harbour%20Bank&lang=hi" in link.url
        stages = [(await login.poll(link.nonce, BROWSER)).status]
        for body in (callback(link.nonce, status="flow_invoked"), granted(link.nonce, f"{server.url}/v1/default")):
            assert await login.handle_callback(body) == OK
            assert server.requests == 0
            if b"flow" in body:
                stages.append((await login.poll(link.nonce, BROWSER)).status)
        end = await login.poll(link.nonce, BROWSER)
        assert [*stages, end.status] == [SignInStatus.WAITING, SignInStatus.OPENED, SignInStatus.VERIFIED]
        assert end.profile is not None
        assert end.profile.phone_numbers == ("919999999999",)
        assert server.received.startswith(b"GET /v1/default HTTP/1.1\r\n")
        assert header(server.received, "Authorization") == f"Bearer {TOKEN}"
        assert header(server.received, "Cache-Control") == "no-cache"
        assert await login.poll(link.nonce, BROWSER) == SignIn(SignInStatus.ENDED)
        assert server.requests == 1
        await login.aclose()


async def test_rejection_is_visible_as_long_as_the_nonce_lives(network: NetworkLog) -> None:
    login = site(network)
    nonce = (await login.begin(BROWSER)).nonce
    await login.handle_callback(callback(nonce, status="user_rejected"))
    for _ in range(2):
        assert await login.poll(nonce, BROWSER) == SignIn(SignInStatus.REJECTED)
    with pytest.raises(ValidationError, match="nonce"):
        await login.fetch_profile(nonce, BROWSER)
    assert network == NetworkLog()


@pytest.mark.fault("S21")
@pytest.mark.parametrize("name", NOT_ALLOWED)
async def test_no_hostile_address_is_resolved_or_connected_to(network: NetworkLog, name: str) -> None:
    login = site(network)
    nonce = (await login.begin(BROWSER)).nonce
    assert await login.handle_callback(granted(nonce, NOT_ALLOWED[name])) == OK
    with pytest.raises(ValidationError, match="endpoint"):
        await login.poll(nonce, BROWSER)
    assert network == NetworkLog()


@pytest.mark.parametrize("endpoint", ALLOWED)
async def test_good_addresses_would_be_connected_to(network: NetworkLog, endpoint: str) -> None:
    login = site(network)
    nonce = (await login.begin(BROWSER)).nonce
    await login.handle_callback(granted(nonce, endpoint))
    with pytest.raises(NotSent):
        await login.poll(nonce, BROWSER)
    assert set(network.addresses) == {"8.8.4.4"}


@pytest.mark.fault("S22")
@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "::ffff:127.0.0.1"])
async def test_good_name_with_a_private_address_is_not_connected_to(network: NetworkLog, address: str) -> None:
    login = site(network, address)
    nonce = (await login.begin(BROWSER)).nonce
    await login.handle_callback(granted(nonce))
    with pytest.raises(NotSent, match="public"):
        await login.poll(nonce, BROWSER)
    assert network.addresses == []
    assert len(network.names) == 1


@pytest.mark.fault("S22")
async def test_rebinding_name_is_connected_to_its_first_address(
    network: NetworkLog,
) -> None:
    login = site(network, "8.8.4.4", "127.0.0.1")
    nonce = (await login.begin(BROWSER)).nonce
    await login.handle_callback(granted(nonce))
    with pytest.raises(NotSent):
        await login.poll(nonce, BROWSER)
    assert network.addresses == ["8.8.4.4"]


@pytest.mark.fault("S25")
@pytest.mark.parametrize("nonce", ["", "x" * 32, "RL8YZ41FQMt5Jiak2sc_Ys0OgQA=", "../../etc", "x" * 5000])
async def test_forged_callback_is_answered_like_a_good_one_and_sends_nothing(network: NetworkLog, nonce: str) -> None:
    login = site(network)
    own = (await login.begin(BROWSER)).nonce
    for body in (granted(nonce), callback(nonce, status="flow_invoked"), callback(nonce, status="user_rejected")):
        assert (
            await login.handle_callback(body) == await login.handle_callback(callback(own, status="new_status")) == OK
        )
    assert network == NetworkLog()
    assert await login.poll(own, BROWSER) == SignIn(SignInStatus.WAITING)


@pytest.mark.fault("S25")
async def test_second_of_two_equal_callbacks_is_answered_without_effect() -> None:
    async with serving(answering(PROFILE)) as server:
        login = site_at(server)
        nonce = (await login.begin(BROWSER)).nonce
        good, other = granted(nonce, f"{server.url}/v1/default"), granted(nonce, f"{server.url}/v1/other")
        for body in (good, good, other, callback(nonce, status="user_rejected")):
            assert await login.handle_callback(body) == OK
        assert (await login.poll(nonce, BROWSER)).status is SignInStatus.VERIFIED
        assert await login.handle_callback(good) == OK
        assert await login.poll(nonce, BROWSER) == SignIn(SignInStatus.ENDED)
        assert server.received.startswith(b"GET /v1/default ")
        assert server.requests == 1


async def test_premature_profile_request_uses_up_nothing() -> None:
    async with serving(answering(PROFILE)) as server:
        login = site_at(server)
        nonce = (await login.begin(BROWSER)).nonce
        with pytest.raises(ValidationError, match="no profile: status waiting"):
            await login.fetch_profile(nonce, BROWSER)
        await login.handle_callback(granted(nonce, f"{server.url}/v1/default"))
        assert (await login.fetch_profile(nonce, BROWSER)).first_name == "Rajat"


@pytest.mark.fault("S22")
async def test_redirect_is_reported_by_its_host_without_the_query() -> None:
    async with serving(redirecting("https://evil.example/v1/x?token=1")) as server:
        with pytest.raises(UnexpectedRedirect, match="only from the host in the callback") as caught:
            await signed_in(server)
    assert caught.value.location == "https://evil.example/v1/x"


@pytest.mark.fault("S20")
async def test_other_browser_gets_nothing_and_the_right_one_still_succeeds() -> None:
    async with serving(answering(PROFILE)) as server:
        login = site_at(server)
        nonce = (await login.begin(BROWSER)).nonce
        await login.handle_callback(granted(nonce, f"{server.url}/v1/default"))
        assert await login.poll(nonce, OTHER) == SignIn(SignInStatus.ENDED)
        with pytest.raises(ValidationError):
            await login.fetch_profile(nonce, OTHER)
        assert server.requests == 0
        assert isinstance(await login.fetch_profile(nonce, BROWSER), Profile)


@pytest.mark.fault("S20")
@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"[]", 400),
        (b"{", 400),
        (b"\xff", 400),
        (b'{"requestId": "\\ud800"}', 400),
        (b"[" * 60_000, 400),
        (b'{"requestId": NaN}', 400),
        (b" " * 65_537, 413),
        (b"{}", 200),
        (b'{"requestId": 7}', 200),
        (b'{"requestId": "x", "status": 7}', 200),
    ],
)
async def test_no_body_causes_a_500(network: NetworkLog, body: bytes, status: int) -> None:
    assert await site(network).handle_callback(body) == CallbackAnswer(status, b"{}")
    assert network == NetworkLog()


def redirecting(to: str) -> Script:
    return answering(b"", "302 Found", f"Location: {to}\r\n")


@pytest.mark.fault("S23")
@pytest.mark.parametrize(
    ("script", "error"),
    [
        (answering(b"", "401 Unauthorized"), AuthenticationFailed),
        (answering(b'{"message": "down"}', "503 Service Unavailable"), ServerError),
        (disconnecting, ResponseLost),
        (redirecting("https://evil.example/v1/x?token=1"), UnexpectedRedirect),
        (answering(b"<html></html>"), DecodeError),
        (answering(b"[]"), DecodeError),
        (answering(b"{}"), DecodeError),
        (answering(b'{"phoneNumbers": [], "name": {"first": "A"}}'), DecodeError),
        (answering(PROFILE + b" " * 65_537), DecodeError),
        (answering(b'{"message": "token ' + TOKEN.encode() + b'"}', "400 Bad Request"), TruecallerError),
    ],
)
async def test_every_answer_of_the_host_is_a_typed_error_without_the_token(
    script: Script, error: type[TruecallerError]
) -> None:
    async with serving(script) as server:
        with pytest.raises(error) as caught:
            await signed_in(server)
        assert server.requests == (2 if caught.value.retryable else 1)
    collected = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    frames = " ".join(str(frame.locals) for frame in collected.stack if "truecaller_async" in frame.filename)
    assert TOKEN not in frames + str(caught.value) + repr(vars(caught.value))


class BrokenStore(MemoryNonceStore):
    """A store whose I/O fails."""

    async def record(self, callback: object) -> bool:
        raise ConfigError("the nonce store cannot be used")


@pytest.mark.fault("S24")
async def test_crash_report_of_a_failing_store_has_no_token(network: NetworkLog) -> None:
    with pytest.raises(ConfigError) as caught:
        await site(network, store=BrokenStore()).handle_callback(granted("x" * 32))
    collected = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    frames = " ".join(str(frame.locals) for frame in collected.stack if "/truecaller_async/" in frame.filename)
    assert "ProfileReady" in frames
    assert TOKEN not in frames


async def test_recovered_server_is_asked_again() -> None:
    async with serving(answering(b"", "500 Internal Server Error"), answering(PROFILE)) as server:
        assert (await signed_in(server)).status is SignInStatus.VERIFIED
        assert server.requests == 2


@pytest.mark.fault("S23")
async def test_silent_host_is_abandoned_at_the_deadline() -> None:
    async def stays(connection: Connection) -> None:
        await connection.request()
        await connection.until_closed()

    async with serving(stays) as server:
        with pytest.raises(DeadlineExceeded, match="within") as caught:
            await signed_in(server, fetch_timeout=0.05)
        assert caught.value.sent == "maybe"


@pytest.mark.fault("S24")
async def test_log_shows_neither_token_nor_number(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with serving(answering(PROFILE)) as server:
        assert "919999999999" not in repr(await signed_in(server))
    assert TOKEN not in caplog.text
    assert "919999999999" not in caplog.text


def test_invalid_site_setting_is_refused() -> None:
    for service in (ServiceOptions(base_url="https://a.example"), ServiceOptions(proxy="http://proxy.example:3128")):
        with pytest.raises(ConfigError, match="pinned"):
            MobileWebOptions(service=service)
    for seconds in (0, 61, float("nan")):
        with pytest.raises(ConfigError):
            MobileWebOptions(fetch_timeout=seconds)
    with pytest.raises(ValidationError, match="partner_key"):
        MobileWeb("", "name")
    assert MobileWebOptions(service=ServiceOptions(retry=RetryPolicy(attempts=1))).fetch_timeout == 5.0
