"""`WebhookReceiver`: receives events over HTTP, stores them, answers, and calls a handler.

    async def on_event(event: CallMeBack | UserFeedback | UnknownEvent) -> None: ...

    receiver = WebhookReceiver(on_event, keys=[os.environ["TRUECALLER_WEBHOOK_KEY"]])

**Events are not signed: anyone with the URL can forge one. Before acting on an event, check the facts with the API or
with your own data: does this customer have an order, was this number called?**

In an ASGI framework (FastAPI, Starlette) mount the receiver and open it in the lifespan: `async with receiver: yield`,
then `app.mount("/truecaller", receiver)`; the URL in the console is https://your.host/truecaller/?key=... with the
slash before the question mark. In aiohttp, `receiver.add_to(app, "/truecaller")` does both. The receiver is also an
ASGI application with lifespan (`uvicorn module:receiver`), and `truecaller webhooks serve` runs it.

Invariants:
    - An event that was answered with 200 is on disk, and is handled at least once, over crashes and restarts.
    - An event that is repeated within a week is answered and not handled again.
    - An event is handled twice only if its result was not stored: the process died, or `aclose` timed out while the
      handler was running (a function in a thread cannot be cancelled). `stats().possibly_duplicated` counts them.
    - Waiting events of one business number are handled in the order of `created_at`. Compare it if an older event must
      not overwrite a newer state.
    - While the receiver is open, a filter removes keys from the logs of uvicorn, hypercorn, gunicorn and aiohttp. The
      log of a proxy needs its own configuration: in nginx, use a `log_format` with `$uri` instead of `$request` and
      `$request_uri`, and the key as a query parameter.
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
"""Loggers that write the URL of a request, or quote a request that the server cannot parse."""

logger = logging.getLogger("truecaller_async.webhooks")


class WebhookReceiver:
    """Receives events at a URL with a key, and calls `handler` with each event after the answer.

    The constructor opens nothing and needs no event loop.

    Args:
        handler: Coroutine function, or plain function that then runs in a thread; takes one event.
        keys: One or more secrets of at least 16 characters; give two while the console changes from one to the other.
        store: `sqlite:///PATH`, a path, or `memory:` for experiments; by default a file in the user's state directory.
        client_account_id: If given, events of other accounts are rejected.
        options: Retries, concurrency and retention.
        clock: Source of time; for tests.

    Raises:
        ConfigError: An argument cannot be used.
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
        """Open the store and start handling stored events. Does nothing if the receiver is open.

        Raises:
            ConfigError: The store cannot be used.
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
        """Stop accepting events, handle queued events for up to `finish_within` seconds, and close.

        Remaining events stay in the store for the next start. Raises nothing if the receiver is closed.
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
        """Serve one ASGI scope."""
        await asgi.serve(self, scope, receive, send)

    def routes(self, path: str = "/") -> list[web.RouteDef]:
        """Return routes for aiohttp: the path, and the path followed by a key. The caller opens the receiver.

        Args:
            path: Path of the webhook; begins with a slash.

        Raises:
            ConfigError: The path cannot be used.
        """
        # Imported here: an application without aiohttp routes must not import aiohttp.
        from truecaller_async.webhooks.routes import routes

        return routes(self, path)

    def add_to(self, app: web.Application, path: str = "/") -> None:
        """Add the routes to an aiohttp application, which then opens and closes the receiver.

        Raises:
            ConfigError: The path cannot be used.
        """
        # Imported here: an application without aiohttp routes must not import aiohttp.
        from truecaller_async.webhooks.routes import add

        add(self, app, path)

    def rejection(self, head: RequestHead) -> WebhookResponse | None:
        """Return the answer to a request that must not be read; None if the body can be read."""
        return request_checks.rejection(head, self._keys)

    async def accept(self, body: bytes) -> WebhookResponse:
        """Store the event of this body and return the answer; after a 200 it is on disk."""
        try:
            event = parse_event(body)
        except DecodeError as error:
            logger.warning("rejected a body with a valid key: it is not an event: %s", error)
            return request_checks.BAD_EVENT
        if self._account is not None and (event.client_account_id or "").lower() != self._account:
            logger.warning("rejected an event with a valid key: it belongs to another account")
            return request_checks.WRONG_ACCOUNT
        return await self._store_event(event, body)

    async def stats(self) -> WebhookStats:
        """Return the counters; after `aclose`, the counters at that time.

        Raises:
            JournalError: The store cannot be read, or the receiver was never open.
        """
        if self._store is None and self._final_stats is not None:
            return self._final_stats
        return await self._open_store().run(event_queries.stats)

    async def parked(self) -> tuple[ParkedEvent, ...]:
        """Return the parked events, oldest first, at most 1,000.

        Raises:
            JournalError: The store cannot be read, or the receiver is not open.
        """
        return await self._open_store().run(event_queries.parked)

    async def release(self, event_id: str | None = None) -> int:
        """Requeue one parked event, or all of them.

        Args:
            event_id: Id of the event; None requeues all.

        Returns:
            The number of requeued events.

        Raises:
            JournalError: The store cannot be written, or the receiver is not open.
        """
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
        new_event = NewEvent(event.event_id, number or NO_NUMBER_LANE, created, now, body)
        try:
            await self._open_store().run(lambda db: event_queries.insert(db, new_event))
        except JournalError as error:
            logger.error("an event was not stored and was answered with 503, so that it is sent again: %s", error)
            return request_checks.NOT_STORED
        if self._worker is not None:
            self._worker.wake()
        return request_checks.RECEIVED

    def _open_store(self) -> EventStore:
        if self._store is None:
            raise JournalError("the receiver is not open. Use `async with receiver:` in the lifespan of the server")
        return self._store
