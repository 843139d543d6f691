"""Commands `truecaller webhooks serve` and `parked`: receive events, and list parked ones.

The keys come from the environment only, like all secrets. Without `--forward`, events are printed as JSON lines.
`parked` lists the events whose last forwarding attempt failed, and `--release` tries them again.
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

# Modules that import aiohttp or SQLite are imported inside the functions, so that --help stays fast.

KEY_VARIABLE = "TRUECALLER_WEBHOOK_KEY"


@attrs.frozen
class ListenAddress:
    """Address of the webhook server."""

    host: str
    """Host name or IP address."""
    port: int
    """Port number; 0 is any free port."""
    path: str
    """Path of the webhook URL."""


@click.group()
def webhooks() -> None:
    """Receive the events "call me back" and "user feedback"."""


@webhooks.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=8090, show_default=True, help="0 is any free port.")
@click.option("--path", default="/truecaller", show_default=True, help="Path of the webhook URL.")
@click.option(
    "--store",
    metavar="URL",
    help="Where events are kept: memory: or sqlite:///PATH.  [default: a file in $XDG_STATE_HOME/truecaller]",
)
@click.option(
    "--forward",
    metavar="CMD|URL|FILE",
    help="Forward each event to a command (JSON on its standard input, no shell), to a URL (a POST), or to a file "
    "that ends in .jsonl.  [default: standard output]",
)
def serve(host: str, port: int, path: str, store: str | None, forward: str | None) -> None:
    """Receive, store, acknowledge and forward events.

    The keys are in TRUECALLER_WEBHOOK_KEY, separated by commas, or in the file named by TRUECALLER_WEBHOOK_KEY_FILE.
    Put a TLS proxy in front of the server. Events are not signed: the key in the URL is the only protection against
    forged events.
    """
    asyncio.run(_serve(ListenAddress(host, port, path), store, forward, keys_from(os.environ)))


@webhooks.command()
@click.option(
    "--store", metavar="URL", help="The store of the server.  [default: a file in $XDG_STATE_HOME/truecaller]"
)
@click.option("--release", is_flag=True, help="Let the server that uses this store try all of them again.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON line per event, with its body.")
def parked(store: str | None, release: bool, as_json: bool) -> None:
    """List the events whose last forwarding attempt failed."""
    from truecaller_async.webhooks.store_path import path_of

    path = path_of(store)
    if path is None:
        raise ConfigError("a store in memory: cannot be read by another process. Name the file: --store sqlite:///PATH")
    found = asyncio.run(_parked(path, release)) if path.exists() else ()
    for event in found:
        click.echo(_json_line(event) if as_json else _text_line(event))
    result = "released" if release else "parked"
    click.echo(f"{counted(len(found), 'event')} {result}.", err=True)


def keys_from(environ: Mapping[str, str]) -> list[Secret]:
    """Return the webhook keys of the environment.

    Raises:
        ConfigError: There is none.
    """
    from truecaller_async.settings import text_in

    keys = [Secret(key) for part in (text_in(environ, KEY_VARIABLE) or "").split(",") if (key := part.strip())]
    if not keys:
        raise ConfigError(
            f"{KEY_VARIABLE} is not set. Set it to a key, or during a key change to two keys separated by a comma. "
            "Create a key with: python -c 'import secrets; print(secrets.token_urlsafe(24))'"
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


def _text_line(event: ParkedEvent) -> str:
    received_at = event.received_at.isoformat(timespec="seconds")
    return f"{printable(event.event_id)}  {received_at}  {counted(event.attempts, 'attempt')}  {printable(event.error)}"


def _json_line(event: ParkedEvent) -> str:
    fields = attrs.asdict(event, filter=attrs.filters.exclude("body"))
    received_at = event.received_at.isoformat(timespec="seconds")
    return json.dumps({**fields, "received_at": received_at, "event": json.loads(event.body)})


async def _serve(address: ListenAddress, store: str | None, target: str | None, keys: list[Secret]) -> None:
    from truecaller_async.cli.signals import signal_handlers
    from truecaller_async.webhooks import WebhookReceiver
    from truecaller_async.webhooks.forwarding import forwarder_for

    stop_requested = asyncio.Event()

    def stop(signum: Signals) -> None:
        stop_requested.set()

    forward = forwarder_for(target)
    receiver = WebhookReceiver(forward, keys, store)
    try:
        with signal_handlers(stop):
            await _listen(receiver, address, stop_requested)
    finally:
        await forward.aclose()
    click.echo(_stats_text(await receiver.stats()), err=True)


async def _listen(receiver: WebhookReceiver, address: ListenAddress, stop_requested: asyncio.Event) -> None:
    from truecaller_async.webhooks.server import WebhookServer

    try:
        server = await WebhookServer.start(receiver, address.host, address.port, address.path)
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {address.host} port {address.port}: {error.strerror or error}. "
            "Stop the program that uses the port, or choose another with --host or --port (0 is any free port)."
        ) from None
    async with server:
        click.echo(f"Listening at {server.url}?key=***  (Ctrl-C stops it)", err=True)
        await stop_requested.wait()


def _stats_text(stats: WebhookStats) -> str:
    parts = (
        f"{counted(stats.received, 'event')} received",
        f"{counted(stats.duplicates, 'duplicate')} among them",
        f"{number(stats.handled)} handled",
        f"{number(stats.waiting)} waiting",
        f"{number(stats.parked)} parked",
    )
    return f"Webhooks: {', '.join(parts)}."
