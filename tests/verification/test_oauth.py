"""Tokens for a code, and the user of a token, over real sockets."""

from __future__ import annotations

import base64
import hashlib
import json
import traceback
from urllib.parse import parse_qsl

import pytest

from tests.transport.raw_server import RawServer
from truecaller_async.errors import (
    APIStatusError,
    AuthenticationFailed,
    BadRequest,
    ConfigError,
    DecodeError,
    Forbidden,
    NotFound,
    NotSent,
    RateLimited,
    ResponseLost,
    ServerError,
    TruecallerError,
    ValidationError,
)
from truecaller_async.models import Secret
from truecaller_async.verification import OAuth, OAuthTokens, Pkce, ServiceOptions, UserInfo, challenge_of

from .samples import sample
from .server import FAST_RETRY, TIMEOUTS, answering, disconnecting, header, options_for, serving

CODE, VERIFIER, TOKEN = "c0de-which-n0b0dy-may-see", "v3r1f13r-" * 6, "t0k3n-which-n0b0dy-may-see"


async def exchange(server: RawServer) -> OAuthTokens:
    async with OAuth("client-1", options_for(server)) as oauth:
        return await oauth.exchange_code(CODE, VERIFIER)


async def fetch_user(server: RawServer) -> UserInfo:
    async with OAuth("client-1", options_for(server)) as oauth:
        return await oauth.userinfo(Secret(TOKEN))


def test_challenge_is_that_of_the_rfc() -> None:
    verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    assert challenge_of(verifier) == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
    pair = Pkce.new()
    digest = hashlib.sha256(pair.verifier.reveal().encode()).digest()
    assert base64.urlsafe_b64decode(pair.challenge + "=") == digest
    assert pair.verifier != Pkce.new().verifier
    assert pair.verifier.reveal() not in repr(pair)


async def test_documented_exchange() -> None:
    async with serving(answering(sample("oauth_token_response"))) as server:
        tokens = await exchange(server)
        head, _, form = server.received.partition(b"\r\n\r\n")
    assert tokens == OAuthTokens(Secret("some-access-token"), 3600.0)
    assert head.startswith(b"POST /v1/token HTTP/1.1\r\n")
    assert header(server.received, "Content-Type") == "application/x-www-form-urlencoded"
    assert header(server.received, "Authorization") is None
    assert dict(parse_qsl(form.decode())) == {
        "grant_type": "authorization_code",
        "client_id": "client-1",
        "code": CODE,
        "code_verifier": VERIFIER,
    }


async def test_undocumented_fields_are_kept_and_never_shown() -> None:
    body = {
        "access_token": TOKEN,
        "expires_in": "3600",
        "refresh_token": "r3fr3sh",
        "id_token": "1d.t0k3n.x",
        "scope": "openid",
    }
    async with serving(answering(json.dumps(body).encode())) as server:
        tokens = await exchange(server)
    assert tokens.expires_in == 3600.0
    assert tokens.refresh_token == Secret("r3fr3sh")
    assert tokens.id_token == Secret("1d.t0k3n.x")
    assert (tokens.token_type, tokens.scope) == ("Bearer", "openid")
    assert not [secret for secret in (TOKEN, "r3fr3sh", "1d.t0k3n.x") if secret in repr(tokens)]


@pytest.mark.parametrize(
    ("status", "error", "says_what"),
    [
        ("400 Bad Request", BadRequest, "parameter is empty"),
        ("403 Forbidden", Forbidden, "code or the verifier is wrong"),
        ("429 Too Many Requests", RateLimited, "too many requests"),
        ("500 Internal Server Error", ServerError, "HTTP 500"),
        ("503 Service Unavailable", ServerError, "HTTP 503"),
    ],
)
async def test_each_documented_refusal_is_an_error_with_advice_and_not_retried(
    status: str, error: type[APIStatusError], says_what: str
) -> None:
    async with serving(answering(b"", status, "Retry-After: 7\r\n")) as server:
        with pytest.raises(error, match=says_what) as caught:
            await exchange(server)
        assert server.requests == 1
    assert caught.value.retryable is (error is RateLimited)
    assert getattr(caught.value, "retry_after", 7) == 7


async def test_message_of_the_body_is_quoted_without_possible_tokens() -> None:
    body = {"error": "invalid_grant", "error_description": f"code {CODE}AAAA1 has expired"}
    async with serving(answering(json.dumps(body).encode(), "403 Forbidden")) as server:
        with pytest.raises(Forbidden) as caught:
            await exchange(server)
    assert caught.value.slug == "invalid_grant"
    assert caught.value.message == "code *** has expired"
    assert CODE not in str(caught.value) + repr(vars(caught.value))


async def test_exchange_with_a_lost_answer_is_never_repeated() -> None:
    async with serving(disconnecting, answering(sample("oauth_token_response"))) as server:
        with pytest.raises(ResponseLost) as caught:
            await exchange(server)
        assert server.requests == 1
    assert caught.value.sent == "maybe"


async def test_unsent_exchange_is_repeated() -> None:
    async with serving() as server:
        options = options_for(server)
    tried: list[str | None] = []

    class RecordingObserver:
        def request(
            self, call: str, token_id: str | None, status: int | None, seconds: float, error: str | None
        ) -> None:
            tried.append(error)

        def event(self, name: str, fields: object) -> None: ...

    watched = ServiceOptions(
        base_url=options.base_url, retry=FAST_RETRY, timeouts=TIMEOUTS, observer=RecordingObserver()
    )
    async with OAuth("client-1", watched) as oauth:
        with pytest.raises(NotSent):
            await oauth.exchange_code(CODE, VERIFIER)
    assert tried == ["NotSent", "NotSent"]


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b"<html>", b'{"access_token": ""}', b'{"access_token": 7}', b'{"access_token": "a b"}']
)
async def test_answer_without_a_usable_token_is_not_quoted(body: bytes) -> None:
    async with serving(answering(body)) as server:
        with pytest.raises(DecodeError) as caught:
            await exchange(server)
        assert server.requests == 1
    assert caught.value.body == ""


async def test_documented_user_is_read() -> None:
    async with serving(answering(sample("oauth_userinfo_response"))) as server:
        user = await fetch_user(server)
        assert server.received.startswith(b"GET /v1/userinfo HTTP/1.1\r\n")
        assert header(server.received, "Authorization") == f"Bearer {TOKEN}"
    assert user.sub == "13627101294235520"


@pytest.mark.parametrize(
    ("status", "error", "says_what", "requests"),
    [
        ("401 Unauthorized", AuthenticationFailed, "not valid, or too old", 1),
        ("404 Not Found", NotFound, "no profile", 1),
        ("422 Unprocessable Entity", BadRequest, "scope openid", 1),
        ("429 Too Many Requests", RateLimited, "HTTP 429", 1),
        ("500 Internal Server Error", ServerError, "HTTP 500", 2),
    ],
)
async def test_each_documented_refusal_of_a_user_is_an_error_with_advice(
    status: str, error: type[APIStatusError], says_what: str, requests: int
) -> None:
    async with serving(answering(b"", status)) as server:
        with pytest.raises(error, match=says_what):
            await fetch_user(server)
        assert server.requests == requests


async def test_read_with_a_lost_answer_is_repeated() -> None:
    async with serving(disconnecting, answering(sample("oauth_userinfo_response"))) as server:
        assert (await fetch_user(server)).sub
        assert server.requests == 2


@pytest.mark.parametrize(
    ("code", "verifier", "fields"),
    [
        ("", VERIFIER, {"code"}),
        ("a\r\nb", VERIFIER, {"code"}),
        (CODE, "short", {"verifier"}),
        (CODE, "x" * 129, {"verifier"}),
        ("", "", {"code", "verifier"}),
        (None, None, {"code", "verifier"}),
    ],
)
async def test_invalid_argument_is_not_sent_and_not_shown(code: str, verifier: str, fields: set[str]) -> None:
    async with serving(answering(b"{}")) as server, OAuth("client-1", options_for(server)) as oauth:
        with pytest.raises(ValidationError) as caught:
            await oauth.exchange_code(code, verifier)
        with pytest.raises(ValidationError, match="access_token"):
            await oauth.userinfo("")
        assert server.connections == []
    assert {problem.field for problem in caught.value.problems} == fields
    assert CODE not in str(caught.value)


async def test_crash_report_has_neither_code_nor_verifier_nor_token() -> None:
    async with serving(answering(f'{{"access_token": "{TOKEN} "}}'.encode())) as server:
        errors: list[TruecallerError] = []
        for ask in (exchange, fetch_user):
            with pytest.raises(TruecallerError) as caught:
                await ask(server)
            errors.append(caught.value)
    for error in errors:
        collected = traceback.TracebackException.from_exception(error, capture_locals=True)
        frames = " ".join(str(frame.locals) for frame in collected.stack if "/truecaller_async/" in frame.filename)
        assert not [secret for secret in (CODE, VERIFIER, TOKEN) if secret in frames + str(error) + repr(vars(error))]


@pytest.mark.parametrize("client_id", ["", "a b", "a\n", None])
def test_client_id_must_be_printable(client_id: str) -> None:
    with pytest.raises(ConfigError, match="client_id"):
        OAuth(client_id)


def test_plain_http_beyond_loopback_is_refused() -> None:
    with pytest.raises(ConfigError, match="https"):
        OAuth("client-1", ServiceOptions(base_url="http://oauth.example"))
