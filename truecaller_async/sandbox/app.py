"""The sandbox on a socket: aiohttp.web around `SandboxState`, and nothing that decides.

Beside the API itself, which any client in any language can be pointed at, there are four paths of the sandbox's own:

    GET  /                       a page of plain text that says what this is
    GET  /_sandbox/stats         what was counted, as JSON (`state.Stats`)
    GET  /_sandbox/truth         every applied record, as JSON lines (`truth.TruthEntry`); ?after=N&limit=M pages
    POST /_sandbox/reset         forget everything and begin anew, from the same seed

They need no token. No request is logged: there are tokens and phone numbers in it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from types import TracebackType
from typing import Self

import msgspec
from aiohttp import web

from truecaller_async.clock import Clock
from truecaller_async.options import Limits
from truecaller_async.sandbox.answers import Reply, answer, error
from truecaller_async.sandbox.settings import SandboxSettings
from truecaller_async.sandbox.state import SandboxState, Stats

BODY_MAX = 4 * 1024 * 1024
TRUTH_PAGE = 1000
TRUTH_PAGE_MAX = 100_000
GRACE = 1.0
"""Seconds that requests in progress are given when the sandbox closes."""

PAGE = """\
A sandbox of the Truecaller for Business API: call personalisation v1, v2 and v3, tokens and labels.
Nothing here reaches a phone. The limits, the refusals and the statuses are those of the public documentation;
where it is silent the sandbox chose, and its documentation says so.

GET  /_sandbox/stats                      what was counted
GET  /_sandbox/truth?after=0&limit=1000   every applied record, one JSON object a line
POST /_sandbox/reset                      begin anew
"""

_NUMBER = re.compile(r"[0-9]{1,15}", re.ASCII)


class Sandbox:
    """A running server: `async with await Sandbox.start() as sandbox: ... sandbox.base_url`."""

    def __init__(self, settings: SandboxSettings, clock: Callable[[], float]) -> None:
        self.settings = settings
        self.base_url = ""
        self._clock = clock
        self._state = SandboxState(settings)
        app = web.Application(client_max_size=BODY_MAX)
        app.router.add_get("/", self._page)
        app.router.add_get("/_sandbox/stats", self._stats)
        app.router.add_get("/_sandbox/truth", self._truth)
        app.router.add_post("/_sandbox/reset", self._reset)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=GRACE)

    @classmethod
    async def start(
        cls,
        settings: SandboxSettings | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        clock: Callable[[], float] | None = None,
    ) -> Self:
        """Listen, and come back when connections are taken. Port 0 takes a free one.

        `clock` gives wall-clock seconds; a test may put its own. Raises OSError where the port cannot be had.
        """
        sandbox = cls(settings or SandboxSettings(), clock or Clock().wall)
        await sandbox._runner.setup()
        try:
            await web.TCPSite(sandbox._runner, host, port).start()
        except OSError:
            await sandbox.aclose()
            raise
        shown = f"[{host}]" if ":" in host else host
        sandbox.base_url = f"http://{shown}:{sandbox._runner.addresses[0][1]}"
        return sandbox

    @property
    def state(self) -> SandboxState:
        """The account as it is now; a reset puts a new one in its place."""
        return self._state

    def environment(self) -> dict[str, str]:
        """The variables that point a client here. The key is an invented one and opens nothing else."""
        return {
            "TRUECALLER_CLIENT_ACCOUNT_ID": self.settings.client_account_id,
            "TRUECALLER_KEY_ID": self.settings.key_id,
            "TRUECALLER_API_KEY": self.settings.api_key.reveal(),
            "TRUECALLER_BASE_URL": self.base_url,
            "TRUECALLER_LIMITS": figures_of(self.settings.limits),
        }

    def stats(self) -> Stats:
        """What was counted since the start or the last reset."""
        return self._state.stats()

    def reset(self) -> None:
        """Forget tokens, batches and counts; the ids begin anew from the seed."""
        self._state = SandboxState(self.settings)

    async def aclose(self) -> None:
        """Stop listening and close every connection. May be called twice."""
        await self._runner.cleanup()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _handle(self, request: web.Request) -> web.Response:
        try:
            body = await request.read()
        except web.HTTPRequestEntityTooLarge:
            return _response(error(413, "payload-too-large", f"a body has at most {BODY_MAX} bytes"))
        headers = {name.lower(): value for name, value in request.headers.items()}
        return _response(self._state.handle(request.method, request.path_qs, headers, body, self._clock()))

    async def _page(self, request: web.Request) -> web.Response:
        return web.Response(text=PAGE)

    async def _stats(self, request: web.Request) -> web.Response:
        return _response(answer(self.stats()))

    async def _truth(self, request: web.Request) -> web.Response:
        after = request.query.get("after", "0")
        limit = request.query.get("limit", str(TRUTH_PAGE))
        if not (_NUMBER.fullmatch(after) and _NUMBER.fullmatch(limit)):
            return _response(error(400, "invalid-input", "after and limit must be whole numbers"))
        entries = self._state.truth(int(after), min(int(limit), TRUTH_PAGE_MAX))
        return web.Response(body=msgspec.json.Encoder().encode_lines(entries), content_type="application/x-ndjson")

    async def _reset(self, request: web.Request) -> web.Response:
        self.reset()
        return _response(answer({"reset": True}))


def figures_of(limits: Limits) -> str:
    """The limits in the form of TRUECALLER_LIMITS: `batch=60/60,token=100/1,mint=10/1800`."""
    return ",".join(f"{rule.name}={rule.limit}/{_seconds(rule.per)}" for rule in limits)


def _seconds(per: float) -> str:
    return f"{per:.6f}".rstrip("0").rstrip(".")


def _response(reply: Reply) -> web.Response:
    return web.Response(status=reply.status, headers=reply.headers, body=reply.body)
