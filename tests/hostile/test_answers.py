"""Every hostile answer ends in one error of the package, with the right flags for a read and a write."""

from __future__ import annotations

import asyncio
import gzip
import tracemalloc
import zlib
from functools import cache

import attrs
import pytest

from tests.transport.raw_server import Connection, RawServer, Script
from truecaller_async import (
    BadRequest,
    DecodeError,
    ResponseLost,
    ServerError,
    Timeouts,
    TruecallerError,
    UnexpectedRedirect,
)

from .scene import (
    ATTEMPTS,
    CALLS,
    LONG_TIMEOUTS,
    SHORT_TIMEOUTS,
    TOKEN,
    Call,
    assert_nothing_disclosed,
    bodies,
    call_hostile_server,
    client_at,
    raw,
)

MIB = 1024 * 1024
UNPACKED = 200 * MIB

EACH_CALL = pytest.mark.parametrize("call", CALLS, ids=lambda call: call.name)

REPEATED = (DecodeError, ResponseLost, ServerError)
"""Errors that are retried, for a read only."""

SAID = {DecodeError: ("yes", False), UnexpectedRedirect: ("yes", False)}


def expected_words(kind: type[TruecallerError], call: Call) -> tuple[str, bool]:
    """Return `.sent` and `.retryable` of this error for this call."""
    if kind is ResponseLost:
        return "maybe", call.is_read
    return ("yes", call.is_read) if kind is ServerError else SAID[kind]


@attrs.frozen
class Hostile:
    """A server script and its expected errors; `fine` names the calls that may accept the answer."""

    name: str
    script: Script
    read: type[TruecallerError]
    write: type[TruecallerError]
    fine: tuple[str, ...] = ()
    timeouts: Timeouts = LONG_TIMEOUTS


def unreadable(name: str, body: bytes, *, fine: tuple[str, ...] = (), headers: str = "") -> Hostile:
    """Return the expectation for an unreadable 2xx: the write was applied."""
    return Hostile(name, bodies(body, headers=headers), DecodeError, DecodeError, fine)


def lost(name: str, script: Script, timeouts: Timeouts = LONG_TIMEOUTS) -> Hostile:
    """Return the expectation for an incomplete answer."""
    return Hostile(name, script, ResponseLost, ResponseLost, timeouts=timeouts)


async def close_at_once(connection: Connection) -> None:
    connection.writer.close()


async def close_after_the_request(connection: Connection) -> None:
    await connection.request()
    connection.writer.close()


async def reset_after_the_request(connection: Connection) -> None:
    await connection.request()
    connection.reset()


async def drip(connection: Connection, start: bytes, drop: bytes) -> None:
    """Send a byte now and then, without an end."""
    await connection.request()
    await connection.write(start)
    while not connection.reader.at_eof():
        await connection.write(drop)
        try:
            await asyncio.wait_for(connection.reader.read(1), SHORT_TIMEOUTS.read / 5)
        except TimeoutError:
            continue


async def drip_the_body(connection: Connection) -> None:
    await drip(connection, b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n", b" ")


async def drip_the_head(connection: Connection) -> None:
    await drip(connection, b"HTTP/1.1 200 OK\r\nX: ", b"x")


async def drip_chunks(connection: Connection) -> None:
    await drip(connection, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n")


async def go_on_for_ever(connection: Connection) -> None:
    await drip(connection, b"", b"HTTP/1.1 100 Continue\r\n\r\n")


@cache
def bomb(wbits: int) -> bytes:
    """Return 200 kB that unpack to 200 MB."""
    packer = zlib.compressobj(9, wbits=wbits)
    return b"".join(packer.compress(bytes(MIB)) for _ in range(UNPACKED // MIB)) + packer.flush()


def bombing(wbits: int, encoding: str) -> Script:
    async def throw(connection: Connection) -> None:
        await bodies(bomb(wbits), headers=f"Content-Encoding: {encoding}\r\n")(connection)

    return throw


HTML = "Content-Type: text/html\r\n"
GOOD = b'{"batch_id": "b-1", "data": [], "status": "success"}'
HEAD = b"HTTP/1.1 200 OK\r\n"
SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n"
LISTS = ("status", "labels", "numbers", "feature_sets")
"""Calls whose answer may be a bare array."""

HOSTILE = (
    Hostile("a web page", bodies(b"<html>Sign in</html>", headers=HTML), DecodeError, ResponseLost),
    Hostile("a bad gateway", bodies(b"<html>502</html>", status="502 Bad Gateway"), ServerError, ServerError),
    Hostile("a bare 500", bodies(b"", status="500 Oh"), ServerError, ServerError),
    Hostile("status 999", bodies(b"{}", status="999 Odd"), ServerError, ServerError),
    lost("cut by length", raw(HEAD + b"Content-Length: 400\r\n\r\n" + GOOD)),
    lost("cut in a chunk", raw(HEAD + b"Transfer-Encoding: chunked\r\n\r\n40\r\n" + GOOD[:20])),
    lost("cut before the last chunk", raw(HEAD + b"Transfer-Encoding: chunked\r\n\r\n34\r\n" + GOOD + b"\r\n")),
    lost("a chunk of no size", raw(HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n" + GOOD)),
    lost("a negative length", raw(HEAD + b"Content-Length: -1\r\n\r\n" + GOOD)),
    lost("a length in words", raw(HEAD + b"Content-Length: many\r\n\r\n" + GOOD)),
    lost("two lengths", raw(HEAD + b"Content-Length: 2\r\nContent-Length: 52\r\n\r\n" + GOOD)),
    lost("no HTTP", raw(b"\x16\x03\x01\x00\x02\r\n\r\n")),
    lost("another protocol", raw(b"SSH-2.0-OpenSSH_9.6\r\n")),
    lost("a line end in a header's name", raw(HEAD + b"X\rY: 1\r\n\r\n" + GOOD)),
    lost("nul in a header", raw(HEAD + b"X: a\x00b\r\n\r\n" + GOOD)),
    lost("one header of 100 kB", raw(HEAD + b"X: " + b"a" * 100_000 + b"\r\n\r\n" + GOOD)),
    lost("100 kB of headers", raw(HEAD + b"".join(b"X-%d: %s\r\n" % (n, b"a" * 90) for n in range(1000)) + b"\r\n")),
    lost("closed at once", close_at_once),
    lost("closed after the request", close_after_the_request),
    lost("reset after the request", reset_after_the_request),
    lost("silence", raw(b"", closes=False), SHORT_TIMEOUTS),
    lost("silence in the head", raw(HEAD, closes=False), SHORT_TIMEOUTS),
    lost("silence in the body", raw(HEAD + b"Content-Length: 400\r\n\r\n{", closes=False), SHORT_TIMEOUTS),
    lost("length above the body", raw(HEAD + b"Content-Length: 53\r\n\r\n" + GOOD, closes=False), SHORT_TIMEOUTS),
    lost("a head byte by byte", drip_the_head, SHORT_TIMEOUTS),
    lost("a body byte by byte", drip_the_body, SHORT_TIMEOUTS),
    lost("chunk by chunk", drip_chunks, SHORT_TIMEOUTS),
    lost("going on for ever", go_on_for_ever, SHORT_TIMEOUTS),
    Hostile("switching protocols", raw(SWITCHING), ServerError, ServerError),
    lost("said to be gzip", bodies(GOOD, headers="Content-Encoding: gzip\r\n")),
    lost("said to be deflate", bodies(GOOD, headers="Content-Encoding: deflate\r\n")),
    lost("packed with what we did not ask for", bodies(GOOD, headers="Content-Encoding: br\r\n")),
    lost("a shorter length than the body", raw(HEAD + b"Content-Length: 20\r\n\r\n" + GOOD)),
    unreadable("half of a gzip", gzip.compress(GOOD)[:-16], headers="Content-Encoding: gzip\r\n"),
    unreadable("packed twice", gzip.compress(gzip.compress(GOOD)), headers="Content-Encoding: gzip, gzip\r\n"),
    unreadable("packed and not said", gzip.compress(GOOD)),
    Hostile("a gzip bomb", bombing(31, "gzip"), DecodeError, DecodeError),
    Hostile("a deflate bomb", bombing(15, "deflate"), DecodeError, DecodeError),
    Hostile("a raw deflate bomb", bombing(-15, "deflate"), DecodeError, DecodeError),
    Hostile("a bomb in a bomb", bombing(31, "gzip, gzip"), DecodeError, DecodeError),
    unreadable("nothing", b"", fine=("push",)),
    unreadable("spaces", b" \r\n\t", fine=("push",)),
    unreadable("not a number", b'{"batch_id": NaN, "data": NaN, "status": NaN}'),
    unreadable("infinity", GOOD[:-1] + b', "x": -Infinity}'),
    unreadable("a float of no size", GOOD[:-1] + b', "x": 1e999}'),
    unreadable("10,000 deep", b'{"batch_id": "b-1", "data": ' + b"[" * 10_000 + b"]" * 10_000 + b"}"),
    unreadable("30,000 deep", b"[" * 30_000 + b"]" * 30_000),
    unreadable("100,000 deep", b"[" * 100_000),
    unreadable("4,000 deep and open", b'{"status_info":' * 4_000),
    unreadable("bad UTF-8", b'{"batch_id": "\xff\xfe", "data": "\xff", "status": "\xff"}'),
    unreadable("UTF-16", GOOD.decode().encode("utf-16")),
    unreadable("a byte order mark", b"\xef\xbb\xbf" + GOOD),
    unreadable("5,000 digits", b'{"batch_id": ' + b"9" * 5000 + b', "data": 1, "status": ' + b"9" * 5000 + b"}"),
    unreadable("half a surrogate pair", b'{"batch_id": "\\ud800", "data": "\\ud800", "status": "\\ud800"}'),
    unreadable("two values", GOOD + GOOD),
    unreadable("a comment", b"// yes\n" + GOOD),
    unreadable("true", b"true"),
    unreadable("a figure", b"1"),
    unreadable("a text", b'"success"'),
    unreadable("an empty list", b"[]", fine=LISTS),
    unreadable("null", b"null", fine=LISTS),
    unreadable("an empty object", b"{}"),
    unreadable("lists where words belong", b'{"batch_id": ["b-1"], "data": {}, "status": ["success"]}'),
)  # fmt: skip


@pytest.mark.fault("F24", "F25", "F26", "F27", "F28", "F29", "F30", "F32")
@EACH_CALL
@pytest.mark.parametrize("hostile", HOSTILE, ids=lambda hostile: hostile.name)
async def test_hostile_answer_raises_one_typed_error(call: Call, hostile: Hostile) -> None:
    meeting = await call_hostile_server(call, hostile.script, timeouts=hostile.timeouts)
    if call.name in hostile.fine:
        assert meeting.error is None
        assert meeting.requests == 1
        return
    kind = hostile.read if call.is_read else hostile.write
    assert isinstance(meeting.error, TruecallerError)
    assert type(meeting.error) is kind
    assert (meeting.error.sent, meeting.error.retryable) == expected_words(kind, call)
    assert meeting.requests == (ATTEMPTS if call.is_read and kind in REPEATED else 1)


@pytest.mark.fault("F25")
async def test_slow_drip_answer_is_distinguished_from_silence() -> None:
    timeouts = Timeouts(connect=5, read=0.1)
    slow = await call_hostile_server(CALLS[0], drip_the_body, timeouts)
    silent = await call_hostile_server(CALLS[0], raw(HEAD + b"Content-Length: 9\r\n\r\n", closes=False), timeouts)
    assert "the answer came too slowly (body not complete after 1 s)" in str(slow.error)
    assert "the peer sent no data (waited 0.1 s)" in str(silent.error)


@pytest.mark.fault("F29")
@EACH_CALL
@pytest.mark.parametrize("wbits", [31, 15], ids=["gzip", "deflate"])
async def test_decompression_bomb_stays_small_in_memory(call: Call, wbits: int) -> None:
    thrown = bombing(wbits, "gzip" if wbits == 31 else "deflate")
    assert len(bomb(wbits)) < MIB
    tracemalloc.start()
    try:
        meeting = await call_hostile_server(call, thrown)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert type(meeting.error) is DecodeError
    assert "answer larger than" in str(meeting.error)
    assert peak < 16 * MIB


@pytest.mark.fault("F31")
@EACH_CALL
@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See", "307 Temporary", "308 Permanent"])
async def test_redirect_is_an_error_and_target_host_gets_no_request(call: Call, status: str) -> None:
    async with RawServer() as other:
        there = f"Location: {other.url.replace('127.0.0.1', 'localhost')}/taken?token={TOKEN}\r\n"
        meeting = await call_hostile_server(call, bodies(b"", status=status, headers=there))
        assert other.connections == []
    assert isinstance(meeting.error, UnexpectedRedirect)
    assert (meeting.error.sent, meeting.error.retryable) == expected_words(UnexpectedRedirect, call)
    assert "localhost" in str(meeting.error)
    assert meeting.requests == 1


@EACH_CALL
async def test_cookie_is_not_kept(call: Call) -> None:
    meeting = await call_hostile_server(
        call, bodies(call.good, headers="Set-Cookie: session=1; Path=/\r\nSet-Cookie2: a=b\r\n")
    )
    assert meeting.error is None
    assert len(meeting.heads) == 4
    assert not [head for head in meeting.heads if b"cookie" in head.lower()]


@EACH_CALL
async def test_informational_response_is_skipped(call: Call) -> None:
    early = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    meeting = await call_hostile_server(
        call, raw(early + HEAD + b"Content-Length: %d\r\n\r\n%s" % (len(call.good), call.good))
    )
    assert meeting.error is None
    assert meeting.requests == 1


@EACH_CALL
async def test_bytes_after_an_answer_are_never_the_next_answer(call: Call) -> None:
    """The second answer is sent early, on a connection that is kept alive."""
    whole = HEAD + b"Content-Length: %d\r\n\r\n%s" % (len(call.good), call.good)
    planted = b'HTTP/1.1 418 Planted\r\nContent-Length: 19\r\n\r\n{"slug": "planted"}'
    meeting = await call_hostile_server(call, raw(whole + planted, closes=False))
    assert "planted" not in str(meeting.error)


DOCUMENTED = b'{"caller_number": "", "receiver_number": "", "status_info": {"status": null}}'


@pytest.mark.parametrize("row", [b"{}", DOCUMENTED, b'{"batch_id": "b-2"}'], ids=["empty", "documented", "foreign"])
async def test_status_with_endless_rows_is_refused_before_parsing(row: bytes) -> None:
    call = next(call for call in CALLS if call.name == "status")
    body = b'{"batch_id": "b-1", "data": [%s]}'
    allowed = await call_hostile_server(call, bodies(body % b",".join([row] * 10_000)))
    assert allowed.error is None
    endless = await call_hostile_server(call, bodies(body % b",".join([row] * 10_001)))
    assert isinstance(endless.error, DecodeError)
    assert "10001 rows: a batch has at most 500 records (at $.data)" in str(endless.error)


@pytest.mark.fault("F30")
@pytest.mark.parametrize(
    ("name", "body", "kept"),
    [
        ("submit", b'{"batch_id": "b-1", "batch_id": "b-2"}', "b-2"),
        ("submit", b'{"batch_id": 18446744073709551616}', "18446744073709551616"),
        ("push", b'{"status_info": {"status": "error"}, "status_info": {"status": "success"}}', "success"),
        ("status", b'{"batch_id": "b-2", "batch_id": "b-1", "data": [{"id": "r-1", "data": [], "id": "r-2"}]}', "r-2"),
    ],
)
async def test_last_value_of_a_repeated_key_counts(name: str, body: bytes, kept: str) -> None:
    call = next(call for call in CALLS if call.name == name)
    meeting = await call_hostile_server(call, bodies(body))
    assert meeting.error is None
    assert kept in repr(meeting.result)


MINT_ANSWERS = {
    "a web page": (b"<html>Sign in</html>", DecodeError),
    "nothing": (b"", DecodeError),
    "no token": (b"{}", DecodeError),
    "an empty token": (b'{"token": ""}', DecodeError),
    "a token with a line end": (b'{"token": "a\\r\\nX-Evil: 1"}', DecodeError),
    "a token in another script": ('{"token": "\N{FULLWIDTH LATIN SMALL LETTER A}"}'.encode(), DecodeError),
    "a token of 5,000 characters": (b'{"token": "' + b"a" * 5000 + b'"}', DecodeError),
    "half a surrogate pair": (b'{"token": "\\ud800"}', DecodeError),
    "a list": (b'["t"]', DecodeError),
    "5,000 digits": (b'{"token": ' + b"9" * 5000 + b"}", DecodeError),
    "30,000 deep": (b"[" * 30_000, DecodeError),
    "an error": (b'{"slug": "invalid-input", "message": "api_key is required"}', BadRequest),
}


@pytest.mark.fault("F10")
@EACH_CALL
@pytest.mark.parametrize("given", MINT_ANSWERS.values(), ids=MINT_ANSWERS.keys())
async def test_hostile_answer_to_a_mint_ends_the_call_unsent(
    call: Call, given: tuple[bytes, type[TruecallerError]]
) -> None:
    body, kind = given
    async with RawServer(bodies(body)) as server, client_at(server.url) as client:
        with pytest.raises(TruecallerError) as caught:
            await call.make(client)
    assert type(caught.value) is kind
    assert_nothing_disclosed(caught.value)
    assert server.requests == 1
    assert b"/token HTTP/1.1" in server.received
