"""The number behind an access token, in both variants, over real sockets."""

from __future__ import annotations

import traceback

import pytest

from tests.transport.raw_server import RawServer
from truecaller_async.errors import (
    AuthenticationFailed,
    ConfigError,
    DecodeError,
    NotFound,
    ServerError,
    TruecallerError,
    ValidationError,
)
from truecaller_async.models import Secret
from truecaller_async.verification import NonTruecallerUsers, VerifiedNumber

from .samples import sample
from .server import answering, header, options_for, serving

TOKEN = "71d8367e-39f7-4de5-a3a3-2066431b9ca8"
KEY = "an-app-key"


def users_at(server: RawServer) -> NonTruecallerUsers:
    return NonTruecallerUsers(client_id="client-1", options=options_for(server))


async def test_sdk_3_variant() -> None:
    async with serving(answering(sample("otp_phone_number_detail_response"))) as server:
        async with users_at(server) as users:
            assert await users.phone_number(TOKEN) == VerifiedNumber("919999000009", "IN")
        path = f"GET /v1/otp/client/installation/phoneNumberDetail/{TOKEN} HTTP/1.1\r\n"
        assert server.received.startswith(path.encode())
        assert header(server.received, "clientId") == "client-1"
        assert header(server.received, "appKey") is None


async def test_sdk_2_variant() -> None:
    async with serving(answering(sample("otp_phone_number_detail_response"))) as server:
        async with NonTruecallerUsers(app_key=Secret("key-1"), options=options_for(server)) as users:
            assert (await users.phone_number(Secret(TOKEN))).phone_number == "919999000009"
        assert server.received.startswith(f"GET /v1/otp/installation/phoneNumberDetail/{TOKEN} HTTP/1.1\r\n".encode())
        assert header(server.received, "appKey") == "key-1"
        assert header(server.received, "clientId") is None


@pytest.mark.parametrize(
    ("body", "status", "error", "slug", "requests"),
    [
        ("otp_error_invalid_credentials", "404 Not Found", AuthenticationFailed, "404", 1),
        ("otp_error_invalid_access_token", "404 Not Found", NotFound, "1404", 1),
        ("otp_error_internal", "500 Internal Server Error", ServerError, "500", 2),
    ],
)
async def test_error_code_in_the_body_distinguishes_two_404s(
    body: str, status: str, error: type[TruecallerError], slug: str, requests: int
) -> None:
    async with serving(answering(sample(body), status)) as server:
        async with users_at(server) as users:
            with pytest.raises(error) as caught:
                await users.phone_number(TOKEN)
        assert server.requests == requests
    assert vars(caught.value)["slug"] == slug
    assert TOKEN not in str(caught.value)


async def test_404_without_a_code_hints_at_the_variant() -> None:
    async with serving(answering(b"", "404 Not Found")) as server, users_at(server) as users:
        with pytest.raises(NotFound, match="variant"):
            await users.phone_number(TOKEN)


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"phoneNumber": null}', b'{"phoneNumber": true}', b'{"phoneNumber": -1}']
)
async def test_answer_without_a_number_is_a_decode_error(body: bytes) -> None:
    async with serving(answering(body)) as server, users_at(server) as users:
        with pytest.raises(DecodeError):
            await users.phone_number(TOKEN)


@pytest.mark.parametrize(
    "token", ["", ".", "..", "../../v1/key", "a/b", "a%2fb", "a?b", "a#b", "a b", "a\r\nb", "x" * 513, None]
)
async def test_unsafe_token_is_not_sent_and_not_shown(token: str) -> None:
    async with serving(answering(b"{}")) as server:
        async with users_at(server) as users:
            with pytest.raises(ValidationError, match="access_token") as caught:
                await users.phone_number(token)
        assert server.connections == []
    assert caught.value.problems[0].value == ""


@pytest.mark.parametrize("body", [b"[]", b"x" * 70_000, b'{"phoneNumber": null, "message": "' + TOKEN.encode() + b'"}'])
async def test_crash_report_has_neither_the_token_nor_the_key(body: bytes) -> None:
    async with (
        serving(answering(body)) as server,
        NonTruecallerUsers(app_key=KEY, options=options_for(server)) as users,
    ):
        with pytest.raises(DecodeError) as caught:
            await users.phone_number(TOKEN)
    collected = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    frames = " ".join(str(frame.locals) for frame in collected.stack if "/truecaller_async/" in frame.filename)
    assert "users" in str(collected.stack[0].locals)
    assert not [secret for secret in (TOKEN, KEY) if secret in frames + repr(vars(caught.value))]


def test_one_of_the_two_credentials_is_given() -> None:
    with pytest.raises(ConfigError, match="exactly one of"):
        NonTruecallerUsers()
    with pytest.raises(ConfigError, match="exactly one of"):
        NonTruecallerUsers(client_id="a", app_key="b")
    for wrong in ("", "a b", "a\r\nX: 1"):
        with pytest.raises(ConfigError, match="appKey"):
            NonTruecallerUsers(app_key=wrong)
