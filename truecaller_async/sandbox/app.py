"""HTTP server of the sandbox: an aiohttp.web application around `SandboxState`.

Paths in addition to the API, which need no token:
    GET  /                       plain text that describes the sandbox
    GET  /openapi.yaml           the served API in OpenAPI 3.1
    GET  /_sandbox/stats         counters as JSON (`state.Stats`)
    GET  /_sandbox/truth         applied records as JSON lines (`truth.TruthEntry`); ?after=N&limit=M
    GET  /_sandbox/exports/NAME  the file of an export link
    POST /_sandbox/reset         delete all state and restart from the same seed
    POST /_sandbox/webhooks      send webhook events to a URL; GET returns the delivery log (`webhooks.api`)

The TrustCaller API is served below /trustcaller/api/v1, with its own token.

Invariants:
    - No request is logged, because requests contain tokens and phone numbers.
    - A request that is not valid HTTP gets a 400 in plain text from aiohttp. Such a request, and one whose body is too
      large or cannot be unpacked, is not counted and not affected by faults.
"""

from __future__ import annotations

import asyncio
import logging
import random
import re
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from importlib.resources import files
from ipaddress import ip_address
from types import TracebackType
from typing import Any, Self

import aiohttp
import msgspec
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from yarl import URL

from truecaller_async.clock import Clock
from truecaller_async.models import Secret
from truecaller_async.options import Limits
from truecaller_async.sandbox.answers import SandboxResponse, answer, error, invalid, not_allowed
from truecaller_async.sandbox.endpoints.exports import PATH as EXPORTS
from truecaller_async.sandbox.faults.raw_http import RawHttp, full_response
from truecaller_async.sandbox.settings import SandboxSettings
from truecaller_async.sandbox.state import SandboxState, Stats
from truecaller_async.sandbox.trustcaller.api import PREFIX as TRUSTCALLER
from truecaller_async.sandbox.trustcaller.api import TrustCallerState
from truecaller_async.sandbox.webhooks.api import PATH as WEBHOOKS
from truecaller_async.sandbox.webhooks.api import WebhookApi
from truecaller_async.sandbox.webhooks.events import Contact, EventFactory, WebhookEvent
from truecaller_async.sandbox.webhooks.sender import WebhookOrder, WebhookSender, events_of

BODY_MAX_BYTES = 4 * 1024 * 1024
"""Maximum size of a request body."""
TRUTH_PAGE_RECORDS = 1000
"""Default page size of the truth log."""
TRUTH_PAGE_RECORDS_MAX = 100_000
CONTACTS_MAX = 1000
"""Number of latest records from which webhook events take their phone numbers."""
ANSWER_READ_BYTES = 64 * 1024
"""Bytes that are read from the answer of a webhook receiver."""
SHUTDOWN_GRACE_SECONDS = 1.0
"""Time for running requests to finish when the sandbox closes."""

PAGE = """\
A sandbox of the Truecaller for Business API: call personalisation v1, v2 and v3, tokens, labels, number management
and the deprecated exports.
Nothing here reaches a phone. Limits, rejections and statuses are those of the public documentation. If it has no
rule, the sandbox has chosen one; the documentation of the sandbox lists these choices.
The TrustCaller API is served below /trustcaller/api/v1.

GET  /openapi.yaml                        the whole API in OpenAPI 3.1
GET  /_sandbox/stats                      counters
GET  /_sandbox/truth?after=0&limit=1000   applied records, one JSON object per line
POST /_sandbox/reset                      delete all state and restart
POST /_sandbox/webhooks                   send webhook events to a URL; GET returns the delivery log
"""

_NUMBER = re.compile(r"[0-9]{1,15}", re.ASCII)

# A child of aiohttp's logger, so that server errors are visible without a logging configuration.
_log = logging.getLogger("aiohttp.server.truecaller_sandbox")


def _is_safe_to_log(record: logging.LogRecord) -> bool:
    """Return whether a log record contains no request data.

    aiohttp logs the bytes of a request that it cannot parse, and these include the token.
    """
    unreadable = (HttpProcessingError, web.RequestPayloadError)
    return record.exc_info is None or not isinstance(record.exc_info[1], unreadable)


_log.addFilter(_is_safe_to_log)


class Sandbox:
    """Running sandbox server: `async with await Sandbox.start() as sandbox: ... sandbox.base_url`."""

    def __init__(
        self, settings: SandboxSettings, clock: Callable[[], float], sleep: Callable[[float], Awaitable[object]]
    ) -> None:
        self.settings = settings
        self.base_url = ""
        self._clock = clock
        self._sleep = sleep
        self._state = SandboxState(settings, clock())
        self._trustcaller = TrustCallerState(settings.trustcaller)
        self._webhooks = SandboxWebhooks(settings, clock, sleep)
        self._raw_http = RawHttp(sleep)
        app = web.Application(client_max_size=BODY_MAX_BYTES)
        self._route(app.router)
        self._runner = web.AppRunner(
            app, access_log=None, logger=_log, shutdown_timeout=SHUTDOWN_GRACE_SECONDS, handler_cancellation=True
        )

    @classmethod
    async def start(
        cls,
        settings: SandboxSettings | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        clock: Callable[[], float] | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> Self:
        """Start listening; the server accepts connections when this returns.

        Args:
            settings: settings of the sandbox; by default `SandboxSettings()`.
            host: address to listen on.
            port: port to listen on; 0 chooses a free port.
            clock: returns wall-clock seconds; for tests.
            sleep: waits for a number of seconds; used for webhook retries and late answers; for tests.

        Returns:
            The running server.

        Raises:
            OSError: if the address cannot be used.
        """
        sandbox = cls(settings or SandboxSettings(), clock or Clock().wall, sleep)
        await sandbox._runner.setup()
        try:
            await web.TCPSite(sandbox._runner, host, port).start()
        except OSError:
            await sandbox.aclose()
            raise
        sandbox.base_url = f"http://{_url_host(host)}:{sandbox._runner.addresses[0][1]}"
        return sandbox

    @property
    def state(self) -> SandboxState:
        """Current account; `reset()` replaces it."""
        return self._state

    @property
    def trustcaller(self) -> TrustCallerState:
        """Current TrustCaller account; `reset()` replaces it."""
        return self._trustcaller

    def environment(self) -> dict[str, str]:
        """Return the environment variables that configure a client for this server.

        The keys are generated and are valid only here.
        """
        return {
            "TRUECALLER_CLIENT_ACCOUNT_ID": self.settings.client_account_id,
            "TRUECALLER_KEY_ID": self.settings.key_id,
            "TRUECALLER_API_KEY": self.settings.api_key.reveal(),
            "TRUECALLER_BASE_URL": self.base_url,
            "TRUECALLER_LIMITS": limits_text(self.settings.limits),
            "TRUSTCALLER_TOKEN": self.settings.trustcaller.token.reveal(),
            "TRUSTCALLER_BASE_URL": f"{self.base_url}{TRUSTCALLER}",
        }

    def stats(self) -> Stats:
        """Return the counters since the start or the last reset."""
        return self._state.stats()

    @property
    def webhooks(self) -> SandboxWebhooks:
        """Webhook deliveries and their log; `reset()` replaces them."""
        return self._webhooks

    def send_webhooks(self, order: WebhookOrder) -> list[WebhookEvent]:
        """Start sending events about the latest records, without waiting for the deliveries.

        Call it in the event loop of the sandbox. `webhooks` shows the result of the deliveries.

        Args:
            order: URL, kinds and number of the events.

        Returns:
            The events in the order of sending.
        """
        return self._webhooks.send(order, self._contacts())

    def reset(self) -> None:
        """Delete tokens, batches, counters and webhooks; ids restart from the seed, deliveries stop."""
        self._webhooks.stop()
        self._webhooks = SandboxWebhooks(self.settings, self._clock, self._sleep)
        self._state = SandboxState(self.settings, self._clock())
        self._trustcaller = TrustCallerState(self.settings.trustcaller)

    async def aclose(self) -> None:
        """Stop deliveries, stop listening and close all connections. A second call does nothing."""
        await self._webhooks.aclose()
        self._raw_http.stop()
        await self._runner.cleanup()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def _route(self, router: web.UrlDispatcher) -> None:
        """Register the sandbox's own paths; all other paths belong to the API."""
        read = {
            "/": self._page,
            "/openapi.yaml": self._openapi,
            f"{EXPORTS}{{name}}": self._export,
            "/_sandbox/stats": self._stats,
            "/_sandbox/truth": self._truth,
        }
        for path, handler in read.items():
            router.add_get(path, handler)
            router.add_route("*", path, _only("GET"))
        router.add_post("/_sandbox/reset", self._reset)
        router.add_route("*", "/_sandbox/reset", _only("POST"))
        router.add_route("*", WEBHOOKS, self._handle_webhooks)
        router.add_route("*", "/{path:.*}", self._handle)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        body = await _body_of(request)
        if isinstance(body, SandboxResponse):
            return full_response(body)
        headers = _headers_of(request)
        is_neighbour = request.path.startswith(f"{TRUSTCALLER}/")
        handle = self._trustcaller.handle if is_neighbour else self._state.handle
        reply = handle(request.method, request.path_qs, headers, body, self._clock())
        return await self._raw_http.answer(request, reply)

    async def _handle_webhooks(self, request: web.Request) -> web.Response:
        api = WebhookApi(self.settings.webhook, self.send_webhooks, self._webhooks.sender)
        body = await _body_of(request)
        if isinstance(body, SandboxResponse):
            return full_response(body)
        pending = self._webhooks.pending
        return full_response(api.handle(request.method, request.query_string, _headers_of(request), body, pending))

    def _contacts(self) -> list[Contact]:
        latest = self._state.truth(max(0, self.stats().records_applied - CONTACTS_MAX), CONTACTS_MAX)
        return [Contact(entry.caller, entry.receiver) for entry in latest if entry.caller and entry.receiver]

    async def _page(self, request: web.Request) -> web.Response:
        return web.Response(text=PAGE)

    async def _openapi(self, request: web.Request) -> web.Response:
        return web.Response(text=openapi_yaml(), content_type="application/yaml")

    async def _export(self, request: web.Request) -> web.Response:
        return full_response(self._state.export_file(request.match_info["name"], self._clock()))

    async def _stats(self, request: web.Request) -> web.Response:
        return full_response(answer(self.stats()))

    async def _truth(self, request: web.Request) -> web.Response:
        after = request.query.get("after", "0")
        limit = request.query.get("limit", str(TRUTH_PAGE_RECORDS))
        if not (_NUMBER.fullmatch(after) and _NUMBER.fullmatch(limit)):
            return full_response(error(400, "invalid-input", "after and limit must be whole numbers"))
        entries = self._state.truth(int(after), min(int(limit), TRUTH_PAGE_RECORDS_MAX))
        return web.Response(body=msgspec.json.Encoder().encode_lines(entries), content_type="application/x-ndjson")

    async def _reset(self, request: web.Request) -> web.Response:
        self.reset()
        return full_response(answer({"reset": True}))


class SandboxWebhooks:
    """Webhook deliveries of one sandbox."""

    def __init__(
        self, settings: SandboxSettings, clock: Callable[[], float], sleep: Callable[[float], Awaitable[object]]
    ) -> None:
        self._settings = settings.webhook_sender
        self._clock = clock
        names = [feature_set.name for feature_set in settings.feature_sets]
        self._factory = EventFactory(settings.seed, settings.client_account_id, names)
        self._rng = random.Random(f"webhook orders {settings.seed}")  # noqa: S311 - repeatable on purpose, guards nothing
        self.sender = WebhookSender(settings.webhook_sender, self._post, sleep, clock)
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def pending(self) -> int:
        """Number of busy senders plus number of events that wait for a retry."""
        return len(self._tasks)

    def send(self, order: WebhookOrder, contacts: Sequence[Contact]) -> list[WebhookEvent]:
        """Start sending the events of an order; return them in the order of sending."""
        events = events_of(order, self._factory, self._rng, contacts, self._clock())
        self.sender.configure(order.url)
        queue = iter(events)
        for _ in range(order.senders):
            self._spawn(self._send(queue, order.url))
        return events

    async def wait_until_idle(self) -> None:
        """Wait until no event is being sent and none waits for a retry."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def stop(self) -> None:
        """Cancel all deliveries."""
        for task in self._tasks:
            task.cancel()

    async def aclose(self) -> None:
        """Cancel all deliveries and wait for their end. A second call does nothing."""
        self.stop()
        await self.wait_until_idle()

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _send(self, queue: Iterator[WebhookEvent], url: Secret) -> None:
        """Send events from the queue until it is empty; failed events are retried in separate tasks."""
        for event in queue:
            if not await self.sender.attempt(event, url):
                self._spawn(self.sender.deliver(event, url))

    async def _post(self, url: Secret, body: bytes) -> int | str:
        """Return the status of the answer, or the class name of the exception.

        The text of an aiohttp exception contains the URL, which is a secret.
        """
        timeout = aiohttp.ClientTimeout(
            total=self._settings.total, sock_connect=self._settings.connect, sock_read=self._settings.read
        )
        target = URL(url.reveal(), encoded=True)
        headers = {"Content-Type": "application/json"}
        request = aiohttp.request("POST", target, data=body, headers=headers, allow_redirects=False, timeout=timeout)
        try:
            async with request as response:
                await response.content.read(ANSWER_READ_BYTES)
                return response.status
        except (aiohttp.ClientError, OSError, ValueError) as failure:
            return type(failure).__name__


def openapi_yaml() -> str:
    """Return the OpenAPI 3.1 description of the served API, as YAML."""
    return files(__package__).joinpath("openapi.yaml").read_text("utf-8")


def limits_text(limits: Limits) -> str:
    """Format limits for TRUECALLER_LIMITS: `batch=60/60,token=100/1,mint=10/1800`."""
    return ",".join(f"{rule.name}={rule.limit}/{_seconds(rule.per)}" for rule in limits)


def _seconds(per: float) -> str:
    return f"{per:.6f}".rstrip("0").rstrip(".")


async def _body_of(request: web.Request) -> bytes | SandboxResponse:
    """Return the body, or an error answer if it cannot be read."""
    try:
        return await request.read()
    except web.HTTPRequestEntityTooLarge:
        return error(413, "payload-too-large", f"a body has at most {BODY_MAX_BYTES} bytes")
    except (web.RequestPayloadError, ConnectionError):
        # A client that disconnects in the middle of its body gets no answer; this is not a server error to log.
        return invalid("the body does not match its headers")


def _headers_of(request: web.Request) -> dict[str, str]:
    return {name.lower(): value for name, value in request.headers.items()}


def _only(method: str) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def not_allowed_handler(request: web.Request) -> web.Response:
        return full_response(not_allowed(method))

    return not_allowed_handler


def _url_host(host: str) -> str:
    """Return the host of a URL that reaches this server from this machine; loopback if unspecified."""
    try:
        address = ip_address(host)
    except ValueError:
        return host
    if address.is_unspecified:
        return "127.0.0.1" if address.version == 4 else "[::1]"
    return f"[{address}]" if address.version == 6 else host
