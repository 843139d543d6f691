"""Handlers of `truecaller webhooks serve`: forward events to a command, URL, file or stdout.

The forwarded data is the object as Truecaller sent it, as one line of JSON.

- Command: reads the line from standard input, runs without a shell, and inherits standard output. Exit code 0 means
  handled. It does not inherit the variables with webhook keys. It runs in a new session, so Ctrl-C does not stop it.
- URL: gets a POST; any 2xx means handled.
- File: the line is appended and synced to disk. A new file is readable by its owner only.

Any other result is a failure, and the receiver retries.
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
"""Prefix of the environment variables that contain webhook keys."""

COMMAND_TIMEOUT_SECONDS = 60.0
"""Time after which a command is killed and counts as failed."""

FORWARD_TIMEOUTS = Timeouts(connect=10, read=30)
"""Timeouts of a POST."""


class Forwarder:
    """Handler that forwards events. Close it after use."""

    async def __call__(self, event: Event) -> None:
        """Forward one event.

        Raises:
            Exception: The event was not forwarded; the receiver retries.
        """
        raise NotImplementedError

    async def aclose(self) -> None:
        """Release resources."""


class ToFile(Forwarder):
    """Appends events to a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = asyncio.Lock()
        try:
            os.close(self._open())
        except OSError as error:
            raise ConfigError(
                f"the file {path} cannot be written: {error.strerror}. Check its permissions, or choose another file"
            ) from None

    async def __call__(self, event: Event) -> None:
        """Append the event.

        Raises:
            OSError: The file cannot be written.
        """
        async with self._lock:
            await asyncio.to_thread(self._append, line_of(event))

    def _open(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def _append(self, line: bytes) -> None:
        handle = self._open()
        try:
            before = os.fstat(handle).st_size
            if os.write(handle, line) != len(line):
                os.ftruncate(handle, before)  # an incomplete line would damage the next one
                raise OSError("the disk is full")
            os.fsync(handle)
        finally:
            os.close(handle)


class ToCommand(Forwarder):
    """Runs a command for each event."""

    def __init__(self, words: list[str]) -> None:
        self._words = words

    async def __call__(self, event: Event) -> None:
        """Run the command.

        Raises:
            OSError: The command cannot be started, failed, or exceeded `COMMAND_TIMEOUT_SECONDS`.
        """
        process = await asyncio.create_subprocess_exec(
            *self._words, stdin=PIPE, env=_without_keys(os.environ), start_new_session=True
        )
        try:
            async with asyncio.timeout(COMMAND_TIMEOUT_SECONDS):
                await process.communicate(line_of(event))
        except TimeoutError:
            raise ChildProcessError(
                f"the command did not end within {COMMAND_TIMEOUT_SECONDS:g} s and was killed"
            ) from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode:
            raise ChildProcessError(f"the command ended with exit code {process.returncode}")


class ToUrl(Forwarder):
    """Posts events to a URL."""

    def __init__(self, url: str) -> None:
        parts = URL(url)
        if parts.user is not None or parts.password is not None:
            raise ConfigError(
                "the URL contains a user or a password, which would not be sent. Remove them from the URL"
            )
        self._transport = AiohttpTransport(checked_url(str(parts.origin())))
        self._path = parts.raw_path_qs

    async def __call__(self, event: Event) -> None:
        """Post the event.

        Raises:
            APIStatusError: The answer is not a 2xx. Errors of the transport are raised unchanged.
        """
        headers = {"Content-Type": "application/json"}
        answer = await self._transport.send(
            Request("forward", "POST", self._path, line_of(event), headers), FORWARD_TIMEOUTS
        )
        if not 200 <= answer.status < 300:
            raise APIStatusError(answer.status, message="the forwarded event was rejected")

    async def aclose(self) -> None:
        """Close the connections."""
        await self._transport.aclose()


class ToOutput(Forwarder):
    """Writes events to standard output; in a thread, because the reader can be slow."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()

    async def __call__(self, event: Event) -> None:
        """Write the event.

        Raises:
            OSError: Standard output cannot be written.
        """
        async with self._lock:
            await asyncio.to_thread(self._write, line_of(event).decode())

    def _write(self, line: str) -> None:
        sys.stdout.write(line)
        sys.stdout.flush()


def forwarder_for(target: str | None) -> Forwarder:
    """Return the handler for a target.

    Args:
        target: URL (http:// or https://), file (ends with .jsonl or .ndjson), or command; None is standard output.

    Raises:
        ConfigError: The target is none of these, or a URL that is not https and not on this machine.
    """
    if target is None:
        return ToOutput()
    if target.lower().startswith(("http://", "https://")):
        try:
            return ToUrl(target)
        except ValueError:
            raise ConfigError("the URL is not valid. Use the form https://host/path") from None
    try:
        words = shlex.split(target)
    except ValueError as error:
        words, reason = [], f"the command cannot be split into words: {error}. Check its quotes"
    else:
        reason = "the target is empty. Use a command, a URL, or a file that ends with .jsonl"
    known = bool(words) and shutil.which(words[0]) is not None
    if target.endswith(FILE_SUFFIXES) and not (known and len(words) > 1):  # `tee -a events.jsonl` is a command
        return ToFile(Path(target).expanduser())
    if not words:
        raise ConfigError(reason)
    if not known:
        raise ConfigError(f"program {words[0]!r} not found or not executable. Use its full path")
    return ToCommand(words)


def _without_keys(environ: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environ.items() if not name.startswith(KEY_VARIABLE_PREFIX)}


def line_of(event: Event) -> bytes:
    """Return the event as sent, as one line of JSON."""
    return json.dumps(event.raw, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
