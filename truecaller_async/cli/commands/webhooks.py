"""`truecaller webhooks`: a receiver of Truecaller's events as a server of its own, until it is told to stop.

Keys come from the environment only, as all secrets do. Without `--forward` events are lines of JSON on standard output.
`truecaller webhooks parked` lists the events whose handing on failed for the last time, and has them tried again.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from signal import Signals
from typing import TYPE_CHECKING

import attrs
import click

from truecaller_async.cli.formatting import counted, number, printable
from truecaller_async.errors import ConfigError
from truecaller_async.models import Secret

if TYPE_CHECKING:
    from truecaller_async.webhooks import ParkedEvent, WebhookReceiver, WebhookStats

KEY = "TRUECALLER_WEBHOOK_KEY"  # the variable's name


@attrs.frozen
class ListenAddress:
    """Where to listen."""

    host: str
    port: int
    path: str


@click.group()
def webhooks() -> None:
    """Events that Truecaller sends.

    They are "call me back" and "user feedback".
    """


@webhooks.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=8090, show_default=True, help="0 takes a free one.")
@click.option("--path", default="/truecaller", show_default=True, help="Path of the webhook.")
@click.option(
    "--store", metavar="URL", help="Where events are kept: memory: or sqlite:///PATH.  [default: a file of yours]"
)
@click.option(
    "--forward",
    metavar="CMD|URL|FILE",
    help="Hand each event on: to a command (JSON on its standard input, no shell), to a URL (a POST), or to a file "
    "that ends in .jsonl.  [default: standard output]",
)
def serve(host: str, port: int, path: str, store: str | None, forward: str | None) -> None:
    """Receive events, keep them, answer, and hand them on.

    The keys are in TRUECALLER_WEBHOOK_KEY, separated by commas, or in the file that TRUECALLER_WEBHOOK_KEY_FILE names.
    Put a proxy with TLS in front. Events are not signed: whoever has the URL can forge one.
    """
    asyncio.run(_serve(ListenAddress(host, port, path), store, forward, keys_from(os.environ)))


@webhooks.command()
@click.option("--store", metavar="URL", help="The store of the receiver.  [default: a file of yours]")
@click.option("--release", is_flag=True, help="Have all of them tried again, by the server that has this store.")
@click.option("--json", "as_json", is_flag=True, help="One line of JSON for each, with the event itself.")
def parked(store: str | None, release: bool, as_json: bool) -> None:
    """List the events that were given up after their last try."""
    from truecaller_async.webhooks.store_path import path_of

    path = path_of(store)
    if path is None:
        raise ConfigError("what is in memory: is not there for others; name the file with --store sqlite:///PATH")
    found = asyncio.run(_parked(path, release)) if path.exists() else ()
    for event in found:
        click.echo(_line(event) if as_json else _row(event))
    done = "tried again" if release else "parked"
    click.echo(f"{counted(len(found), 'event')} {done}.", err=True)


def keys_from(environ: Mapping[str, str]) -> list[Secret]:
    """The keys that the environment names. Raises `ConfigError` where there is none."""
    from truecaller_async.settings import text_in

    keys = [Secret(key) for part in (text_in(environ, KEY) or "").split(",") if (key := part.strip())]
    if not keys:
        raise ConfigError(
            f"{KEY} is not set; set it to a key of your own, or to two during a change, separated by a comma; make one "
            "with: python -c 'import secrets; print(secrets.token_urlsafe(24))'"
        )
    return keys


async def _parked(path: Path, release: bool) -> tuple[ParkedEvent, ...]:
    from truecaller_async.clock import Clock
    from truecaller_async.webhooks import event_queries
    from truecaller_async.webhooks.event_store import EventStore

    store = EventStore(path)
    await store.open()
    try:
        found = await store.run(event_queries.parked)
        if release:
            for event in found:
                await store.run(partial(event_queries.release, event_id=event.event_id, now=Clock().wall()))
    finally:
        await store.aclose()
    return found


def _row(event: ParkedEvent) -> str:
    came = event.received_at.isoformat(timespec="seconds")
    return f"{printable(event.event_id)}  {came}  {counted(event.attempts, 'attempt')}  {printable(event.fault)}"


def _line(event: ParkedEvent) -> str:
    known = attrs.asdict(event, filter=attrs.filters.exclude("body"))
    came = event.received_at.isoformat(timespec="seconds")
    return json.dumps({**known, "received_at": came, "event": json.loads(event.body)})


async def _serve(place: ListenAddress, store: str | None, target: str | None, keys: list[Secret]) -> None:
    from truecaller_async.engine.signals import signal_handlers
    from truecaller_async.webhooks import WebhookReceiver
    from truecaller_async.webhooks.forwarding import forwarder_for

    asked = asyncio.Event()

    def stop(signum: Signals) -> None:
        asked.set()

    forward = forwarder_for(target)
    receiver = WebhookReceiver(forward, keys, store)
    try:
        with signal_handlers(stop):
            await _listen(receiver, place, asked)
    finally:
        await forward.aclose()
    click.echo(_told(await receiver.stats()), err=True)


async def _listen(receiver: WebhookReceiver, place: ListenAddress, asked: asyncio.Event) -> None:
    from truecaller_async.webhooks.server import WebhookServer

    try:
        server = await WebhookServer.start(receiver, place.host, place.port, place.path)
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {place.host} port {place.port}: {error.strerror or error}; "
            "stop what listens there, or choose another with --host or --port (0 takes a free one)"
        ) from None
    async with server:
        click.echo(f"Listening at {server.url}?key=***  (Ctrl-C stops it)", err=True)
        await asked.wait()


def _told(stats: WebhookStats) -> str:
    said = (
        f"{counted(stats.received, 'event')} received",
        f"{counted(stats.duplicates, 'duplicate')} among them",
        f"{number(stats.handled)} handled",
        f"{number(stats.waiting)} waiting",
        f"{number(stats.parked)} parked",
    )
    return f"Webhooks: {', '.join(said)}."
