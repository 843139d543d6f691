"""The login example: requests of a browser and callbacks of Truecaller."""

from __future__ import annotations

import asyncio
import gzip
import os
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from tests.transport.raw_server import RawServer
from tests.verification.samples import sample
from tests.verification.server import answering
from truecaller_async.verification import Endpoints, MobileWeb, MobileWebOptions

LINK = re.compile(r"truecallersdk://truesdk/web_verify\?type=btmsheet&requestNonce=([\w-]+)&")
EXAMPLE = Path(__file__).parents[2] / "examples" / "login.py"
JSON = {"Content-Type": "application/json"}
KEY = "an-invented-key-of-32-characters"


def example() -> Any:
    spec = spec_from_file_location("login_example", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@asynccontextmanager
async def backend(profiles: RawServer) -> AsyncIterator[str]:
    """Run the example, with profiles from this server; yield its URL."""
    endpoints = Endpoints(hosts=(f"127.0.0.1:{profiles.port}",), allow_loopback=True)
    login = MobileWeb("key", "Harbour Bank", MobileWebOptions(endpoints=endpoints))
    runner = web.AppRunner(example().create_app(login, KEY), access_log=None, auto_decompress=False)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


class Browser:
    """Browser that opens the page, keeps the cookie and polls."""

    def __init__(self, http: aiohttp.ClientSession, url: str) -> None:
        self._http = http
        self._url = url
        self.nonce = ""
        self.cookie = ""
        self.flags = ""

    async def begin(self) -> None:
        async with self._http.get(f"{self._url}/login") as answer:
            found = re.search(
                r"truecallersdk://truesdk/web_verify\?type=btmsheet&requestNonce=([\w-]+)&", await answer.text()
            )
            assert found is not None
            self.nonce = found[1]
            self.cookie, _, self.flags = answer.headers["Set-Cookie"].partition(";")

    async def poll(self, cookie: str | None = None) -> dict[str, str]:
        headers = {"Cookie": self.cookie if cookie is None else cookie}
        async with self._http.post(f"{self._url}/login/poll", data=self.nonce, headers=headers) as answer:
            assert answer.headers["Cache-Control"] == "no-store"
            status: dict[str, str] = await answer.json()
            return status


async def post(http: aiohttp.ClientSession, url: str, body: bytes, **headers: str) -> tuple[int, bytes]:
    async with http.post(f"{url}/truecaller/{KEY}", data=body, headers={**JSON, **headers}) as answer:
        return answer.status, await answer.read()


def granted(nonce: str, profiles: RawServer) -> bytes:
    return (
        f'{{"requestId": "{nonce}", "accessToken": "an-invented-token", "endpoint": "{profiles.url}/v1/default"}}'
    ).encode()


async def test_login_example_signs_in_only_the_browser_that_started() -> None:
    async with (
        RawServer(answering(sample("mobile_web_profile_response"))) as profiles,
        backend(profiles) as url,
        aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http,
    ):
        browser, other = Browser(http, url), Browser(http, url)
        await browser.begin()
        await other.begin()
        assert {"HttpOnly", "Secure", "SameSite=Lax", "Path=/"} <= {flag.strip() for flag in browser.flags.split(";")}
        assert browser.cookie.startswith("__Host-")
        assert "Domain" not in browser.flags
        assert await browser.poll() == {"status": "waiting"}
        assert await post(http, url, f'{{"requestId": "{browser.nonce}", "status": "flow_invoked"}}'.encode()) == (
            200,
            b"{}",
        )
        assert await browser.poll() == {"status": "opened"}
        assert await post(http, url, granted(browser.nonce, profiles)) == (200, b"{}")
        assert await browser.poll(other.cookie) == await browser.poll("") == {"status": "ended"}
        assert profiles.requests == 0
        assert await browser.poll() == {"status": "verified", "name": "Rajat"}
        assert await browser.poll() == {"status": "ended"}
        assert await other.poll() == {"status": "waiting"}


async def test_forged_posts_are_answered_without_effect() -> None:
    async with (
        RawServer() as profiles,
        backend(profiles) as url,
        aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http,
    ):
        browser = Browser(http, url)
        await browser.begin()
        packed = gzip.compress(granted(browser.nonce, profiles))
        assert await post(http, url, granted("x" * 32, profiles)) == (200, b"{}")
        assert (await post(http, url, b"not json"))[0] == 400
        assert (await post(http, url, b"x" * 70_000))[0] == 413
        assert (await post(http, url, packed, **{"Content-Encoding": "gzip"}))[0] == 400
        assert await browser.poll() == {"status": "waiting"}
        hostile = granted(browser.nonce, profiles).replace(b"127.0.0.1", b"evil.example")
        assert await post(http, url, hostile) == (200, b"{}")
        assert await browser.poll() == {"status": "ended"}
        assert profiles.connections == []


async def test_cross_site_links_do_not_poll_and_sessions_are_not_accepted() -> None:
    async with (
        RawServer() as profiles,
        backend(profiles) as url,
        aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http,
    ):
        browser = Browser(http, url)
        await browser.begin()
        async with http.get(f"{url}/login/poll?nonce={browser.nonce}", headers={"Cookie": browser.cookie}) as answer:
            assert answer.status == 405
        planted = {"Cookie": "__Host-login=planted"}
        async with http.get(f"{url}/login", headers=planted) as answer:
            assert "planted" not in answer.headers["Set-Cookie"]
        for body in (b"\xff\xfe", b"", b"x" * 60_000):
            form = {"Cookie": browser.cookie, "Content-Type": "text/plain; charset=nonsense"}
            async with http.post(f"{url}/login/poll", data=body, headers=form) as answer:
                assert await answer.json() == {"status": "ended"}


async def test_callback_without_the_key_is_refused() -> None:
    async with (
        RawServer() as profiles,
        backend(profiles) as url,
        aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http,
    ):
        browser = Browser(http, url)
        await browser.begin()
        for key in ("callback", "", KEY[:-1], KEY.upper(), f"{KEY}/"):
            async with http.post(f"{url}/truecaller/{key}", data=granted(browser.nonce, profiles)) as answer:
                assert answer.status == 404
        assert await browser.poll() == {"status": "waiting"}


@pytest.mark.parametrize("key", ["", "callback", "{key}" * 10, "x" * 31])
def test_guessable_key_is_refused(key: str) -> None:
    with pytest.raises(SystemExit, match="CALLBACK_KEY"):
        example().create_app(MobileWeb("key", "Harbour Bank"), key)


async def test_login_example_runs_unchanged() -> None:
    variables = {"TRUECALLER_PARTNER_KEY": "key", "TRUECALLER_PARTNER_NAME": "Harbour Bank", "PORT": "0"}
    variables["TRUECALLER_CALLBACK_KEY"] = KEY
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(EXAMPLE), env={**os.environ, **variables}, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        page = (await process.stdout.readline()).decode().strip()
        async with aiohttp.ClientSession() as http:
            browser = Browser(http, page.removesuffix("/login"))
            await browser.begin()
            assert await browser.poll() == {"status": "waiting"}
    finally:
        process.terminate()
        await process.communicate()
