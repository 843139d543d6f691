"""What `truecaller webhooks serve` does with events: hands them to a command, a URL, a file or standard output.

Each is a handler. What is handed on is the object that Truecaller sent, as one line of JSON. A command gets it on
standard input and runs without a shell, its output is ours; it has handled the event when it ends with 0. It inherits
neither the webhook's keys nor the Ctrl-C that is meant for us. A URL gets a POST; any 2xx is "handled". A file gets one
more line, whole and on disk; where we create it, it is ours alone to read. Whatever else happens is a failure, and the
receiver tries again.
"""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import shutil
import sys
from asyncio.subprocess import PIPE
from collections.abc import Mapping
from pathlib import Path

from yarl import URL

from truecaller_async.errors import APIStatusError, ConfigError
from truecaller_async.models import Request
from truecaller_async.options import Timeouts
from truecaller_async.settings import checked_url
from truecaller_async.transport import AiohttpTransport
from truecaller_async.webhooks.events import Event

FILE_SUFFIXES = (".jsonl", ".ndjson")
KEY_VARIABLE_PREFIX = "TRUECALLER_WEBHOOK_KEY"
"""How the names of the variables begin in which our keys are."""

COMMAND_TIMEOUT_SECONDS = 60.0
"""Seconds after which a command is ended and counts as failed."""

FORWARD_TIMEOUTS = Timeouts(connect=10, read=30)


class Forwarder:
    """A handler that hands events on. Close it at the end."""

    async def __call__(self, event: Event) -> None:
        """Hand one event on. Raises whatever tells that it was not."""
        raise NotImplementedError

    async def aclose(self) -> None:
        """Let go of what is open."""


class ToFile(Forwarder):
    """One line more in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = asyncio.Lock()
        try:
            os.close(self._open())
        except OSError as error:
            raise ConfigError(f"the file {path} to forward to cannot be written: {error.strerror}") from None

    async def __call__(self, event: Event) -> None:
        """Append it. Raises OSError."""
        async with self._lock:
            await asyncio.to_thread(self._append, line_of(event))

    def _open(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def _append(self, line: bytes) -> None:
        handle = self._open()
        try:
            before = os.fstat(handle).st_size
            if os.write(handle, line) != len(line):
                os.ftruncate(handle, before)  # half a line would spoil the next one
                raise OSError("the disk is full")
            os.fsync(handle)
        finally:
            os.close(handle)


class ToCommand(Forwarder):
    """One run of a command."""

    def __init__(self, words: list[str]) -> None:
        self._words = words

    async def __call__(self, event: Event) -> None:
        """Run it. Raises OSError where it cannot be run, failed, or took too long."""
        process = await asyncio.create_subprocess_exec(
            *self._words, stdin=PIPE, env=_without_keys(os.environ), start_new_session=True
        )
        try:
            async with asyncio.timeout(COMMAND_TIMEOUT_SECONDS):
                await process.communicate(line_of(event))
        except TimeoutError:
            raise ChildProcessError(f"the command did not end within {COMMAND_TIMEOUT_SECONDS:g} s") from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode:
            raise ChildProcessError(f"the command ended with {process.returncode}")


class ToUrl(Forwarder):
    """One POST."""

    def __init__(self, url: str) -> None:
        parts = URL(url)
        if parts.user is not None or parts.password is not None:
            raise ConfigError("the URL to forward to must have no user and no password in it; they would not be sent")
        self._transport = AiohttpTransport(checked_url(str(parts.origin())))
        self._path = parts.raw_path_qs

    async def __call__(self, event: Event) -> None:
        """Send it. Raises what the transport raises, and `APIStatusError` for an answer that is no 2xx."""
        headers = {"Content-Type": "application/json"}
        answer = await self._transport.send(
            Request("forward", "POST", self._path, line_of(event), headers), FORWARD_TIMEOUTS
        )
        if not 200 <= answer.status < 300:
            raise APIStatusError(answer.status, message="the event that was forwarded was not taken")

    async def aclose(self) -> None:
        """Close the connections."""
        await self._transport.aclose()


class ToOutput(Forwarder):
    """One line on standard output; whoever reads it may be slow."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()

    async def __call__(self, event: Event) -> None:
        """Write it. Raises OSError."""
        async with self._lock:
            await asyncio.to_thread(self._write, line_of(event).decode())

    def _write(self, line: str) -> None:
        sys.stdout.write(line)
        sys.stdout.flush()


def forwarder_for(target: str | None) -> Forwarder:
    """The handler for a URL (http:// or https://), a file (ends in .jsonl or .ndjson), or else a command.

    None is standard output.

    Raises `ConfigError` where it is none of them, or a URL that is not https and leads beyond this machine.
    """
    if target is None:
        return ToOutput()
    if target.lower().startswith(("http://", "https://")):
        try:
            return ToUrl(target)
        except ValueError:
            raise ConfigError("the URL to forward to is none; write one such as https://host/path") from None
    try:
        words = shlex.split(target)
    except ValueError as error:
        words, reason = [], f"the command to forward to cannot be read: {error}"
    else:
        reason = "nothing to forward to is named; give a command, a URL, or a file that ends in .jsonl"
    known = bool(words) and shutil.which(words[0]) is not None
    if target.endswith(FILE_SUFFIXES) and not (known and len(words) > 1):  # `tee -a events.jsonl` is a command
        return ToFile(Path(target).expanduser())
    if not words:
        raise ConfigError(reason)
    if not known:
        raise ConfigError("the program to forward to is not found, or must not be run; give its path")
    return ToCommand(words)


def _without_keys(environ: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environ.items() if not name.startswith(KEY_VARIABLE_PREFIX)}


def line_of(event: Event) -> bytes:
    """What was sent, as one line of JSON."""
    return json.dumps(event.raw, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
