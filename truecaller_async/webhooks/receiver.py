"""`WebhookReceiver`: takes Truecaller's events over HTTP, keeps them, answers, and hands them to a function of yours.

    async def on_event(event: CallMeBack | UserFeedback | UnknownEvent) -> None: ...

    receiver = WebhookReceiver(on_event, keys=[os.environ["TRUECALLER_WEBHOOK_KEY"]])

**Events are not signed: whoever has the URL can forge one, and may read every word of it. Before you act on an event,
fetch the truth by the API, or from your own books: does this person have an order, did we call this number?**

In FastAPI, Starlette or any other ASGI framework, mount it and open it in the lifespan:

    @asynccontextmanager
    async def lifespan(app):
        async with receiver:
            yield

    app = FastAPI(lifespan=lifespan)
    app.mount("/truecaller", receiver)         # console: https://your.host/truecaller/?key=...  (mind the slash)

In aiohttp, `receiver.add_to(app, "/truecaller")` does both. It is also an ASGI application by itself (`uvicorn
module:receiver`), lifespan included, and `truecaller webhooks serve` is a server around it.

What is promised: an event that was answered 200 is on disk, and is handled at least once, over crashes and restarts. An
event that comes again within a week is answered and not handled again. The one way to be handled twice is a handler
whose mark is missing: its process died, or a stop ran out of patience with it (a function in a thread cannot be
stopped, and may still be at work). `stats().possibly_twice` counts them. Events of one business number are handled in
the order of `created_at`, as far as they are there; compare it where a newer state must not be overwritten.

The key must not come into a log. While the receiver is open a filter hides keys in the logs of uvicorn, hypercorn,
gunicorn and aiohttp. A proxy writes its own: in nginx use a `log_format` with `$uri` in place of `$request`
and `$request_uri`, and the key as a query parameter; load balancers whose log format is fixed should not log this path.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeAlias

from truecaller_async.clock import Clock
from truecaller_async.errors import ConfigError, DecodeError, JournalError
from truecaller_async.models import Secret
from truecaller_async.webhooks import asgi, event_queries, request_checks
from truecaller_async.webhooks.event_queries import NO_NUMBER_LANE, NewEvent
from truecaller_async.webhooks.event_store import EventStore
from truecaller_async.webhooks.events import CallMeBack, Event, UserFeedback, parse_event
from truecaller_async.webhooks.keys import HideKeys, Keyring
from truecaller_async.webhooks.options import ParkedEvent, WebhookOptions, WebhookStats
from truecaller_async.webhooks.request_checks import RequestHead, WebhookResponse
from truecaller_async.webhooks.store_path import path_of
from truecaller_async.webhooks.worker import Handler, Worker

if TYPE_CHECKING:
    from aiohttp import web

Message: TypeAlias = MutableMapping[str, Any]

SERVER_LOGGERS = (
    *("uvicorn.access", "hypercorn.access", "gunicorn.access", "aiohttp.access"),
    *("uvicorn.error", "uvicorn.asgi", "hypercorn.error", "gunicorn.error", "aiohttp.server"),
)
"""Servers write the URL of a request, and some quote a request that they cannot read."""

logger = logging.getLogger("truecaller_async.webhooks")


class WebhookReceiver:
    """Receives events at a URL with a key in it, and calls `handler` with each, after the answer.

    `handler` is a coroutine function, or a plain one, which then runs in a thread. `keys` are one or more secrets of 16
    characters or more; give two while the console changes from one to the other. `store` is where events are kept:
    `sqlite:///PATH`, a path, `memory:` for trying out, or, left out, a file in the user's folder for state.
    `client_account_id` lets only events of this account in.

    Raises `ConfigError` where one of these cannot be used. Opens nothing and needs no event loop.
    """

    def __init__(
        self,
        handler: Handler,
        keys: Sequence[Secret | str],
        store: str | Path | None = None,
        *,
        client_account_id: str | None = None,
        options: WebhookOptions | None = None,
        clock: Clock | None = None,
    ) -> None:
        if not callable(handler):
            raise ConfigError("handler must be a function that takes one event")
        if client_account_id is not None and not isinstance(client_account_id, str):
            raise ConfigError("client_account_id must be text, as on the console page 'Manage API Keys'")
        self._handler = handler
        self._keys = Keyring(keys)
        self._path = path_of(store)
        self._account = client_account_id.strip().lower() if client_account_id else None
        self._options = options or WebhookOptions()
        self._clock = clock or Clock()
        self._filter = HideKeys(self._keys)
        self._store: EventStore | None = None
        self._worker: Worker | None = None
        self._final_stats: WebhookStats | None = None

    async def start(self) -> None:
        """Open the store and begin to handle what waits in it; nothing where it is open.

        Raises `ConfigError` where the store cannot be used.
        """
        if self._store is not None:
            return
        store = EventStore(self._path)
        await store.open()
        self._store = store
        self._worker = Worker(store, self._handler, self._options, self._clock)
        for name in SERVER_LOGGERS:
            logging.getLogger(name).addFilter(self._filter)

    async def aclose(self) -> None:
        """Take no more, handle what is ready for up to `finish_within` seconds, and close. Raises nothing when closed.

        What is left waits in the store for the next start.
        """
        store, worker = self._store, self._worker
        self._store = self._worker = None
        if worker is not None:
            await worker.stop()
        if store is not None:
            with contextlib.suppress(JournalError):
                self._final_stats = await store.run(event_queries.stats)
            await store.aclose()
        for name in SERVER_LOGGERS:
            logging.getLogger(name).removeFilter(self._filter)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def __call__(
        self,
        scope: Message,
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        """The receiver as an ASGI application."""
        await asgi.serve(self, scope, receive, send)

    def routes(self, path: str = "/") -> list[web.RouteDef]:
        """Routes for aiohttp: this path, and this path with the key behind it. Open the receiver yourself.

        Raises `ConfigError` where the path does not begin with a slash.
        """
        from truecaller_async.webhooks.routes import routes

        return routes(self, path)

    def add_to(self, app: web.Application, path: str = "/") -> None:
        """Add the routes to an aiohttp application, and open and close the receiver with it. Raises as `routes`."""
        from truecaller_async.webhooks.routes import add

        add(self, app, path)

    def refusal(self, head: RequestHead) -> WebhookResponse | None:
        """The answer to a request that is not to be read; None where its body may be read and given to `take`."""
        return request_checks.refusal(head, self._keys)

    async def accept(self, body: bytes) -> WebhookResponse:
        """Keep the event of this body, and say what to answer. It is on disk when that is a 200."""
        try:
            event = parse_event(body)
        except DecodeError as error:
            logger.warning("refused a body that is no event, although the key was right: %s", error)
            return request_checks.BAD_EVENT
        if self._account is not None and (event.client_account_id or "").lower() != self._account:
            logger.warning("refused an event of another account, although the key was right")
            return request_checks.WRONG_ACCOUNT
        return await self._store_event(event, body)

    async def stats(self) -> WebhookStats:
        """The counts, from the store; after the close, as they were at the end.

        Raises `JournalError` where the store cannot be read, or the receiver was never open.
        """
        if self._store is None and self._final_stats is not None:
            return self._final_stats
        return await self._open_store().run(event_queries.stats)

    async def parked(self) -> tuple[ParkedEvent, ...]:
        """The events that were given up, oldest first, up to 1,000. Raises as `stats`."""
        return await self._open_store().run(event_queries.parked)

    async def release(self, event_id: str | None = None) -> int:
        """Try this parked event again, or all of them; how many they are. Raises as `stats`."""
        now = self._clock.wall()
        released = await self._open_store().run(lambda db: event_queries.release(db, event_id, now))
        if self._worker is not None:
            self._worker.wake()
        return released

    def __repr__(self) -> str:
        return f"WebhookReceiver({self._path or 'memory:'}, {'open' if self._store else 'not open'})"

    async def _store_event(self, event: Event, body: bytes) -> WebhookResponse:
        now = self._clock.wall()
        number = event.business_number if isinstance(event, CallMeBack | UserFeedback) else None
        created = event.created_at.timestamp() if event.created_at else now
        arrival = NewEvent(event.event_id, number or NO_NUMBER_LANE, created, now, body)
        try:
            await self._open_store().run(lambda db: event_queries.insert(db, arrival))
        except JournalError as error:
            logger.error("an event was not kept, and answered 503 so that it comes again: %s", error)
            return request_checks.NOT_STORED
        if self._worker is not None:
            self._worker.wake()
        return request_checks.RECEIVED

    def _open_store(self) -> EventStore:
        if self._store is None:
            raise JournalError("the receiver is not open; write async with receiver: in the server's start and end")
        return self._store
