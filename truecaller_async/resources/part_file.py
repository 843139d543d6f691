"""A file that is there whole or not at all.

It is written under its name with a few letters and `.part` behind, readable by its owner only, because exports hold
phone numbers; when all of it is there, and on the disk, it gets its own name. The letters are drawn anew each time, so
that two who write the same file do not write into each other's part, and what a killed process left is in nobody's way.
If anything goes wrong the part is removed. It is written in threads, so that a slow disk does not hold up the event
loop; opening and removing are done at once, so that no cancelled task leaves anything behind.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self, TypeVar

from truecaller_async.errors import ConfigError, ValidationError
from truecaller_async.models import Problem

T = TypeVar("T")

LETTERS = 8


class PartFile:
    """Between `async with` the file is written; leaving it without an error gives it its name.

    Raises `ValidationError` on entering where `path` is a folder or may not be overwritten, `ConfigError` where the
    file cannot be written.
    """

    def __init__(self, path: Path, *, overwrite: bool) -> None:
        self._path = path
        self._overwrite = overwrite
        self._part = path.with_name(f"{path.name}.{secrets.token_hex(LETTERS // 2)}.part")
        self._file: BinaryIO | None = None

    async def __aenter__(self) -> Self:
        try:
            self._file = self._open()
        except OSError as error:
            reason = _reason(error)
        else:
            return self
        raise self._failure(reason)

    async def write(self, piece: bytes) -> None:
        """Write this behind what is there. Raises `ConfigError` where the disk refuses it."""
        if self._file is not None:
            await self._try(self._file.write, piece)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        kept = False
        try:
            if kind is None:
                await self._try(self._keep)
                kept = True
        finally:
            if not kept:
                self._discard()

    async def _try(self, work: Callable[..., T], *arguments: object) -> T:
        try:
            return await asyncio.to_thread(work, *arguments)
        except OSError as error:
            reason = _reason(error)
        raise self._failure(reason)

    def _failure(self, reason: str) -> ConfigError:
        return ConfigError(f"the file {self._part} cannot be written: {reason}; nothing of it was kept")

    def _open(self) -> BinaryIO:
        self._refuse_existing()
        return open(self._part, "xb", opener=_for_the_owner)

    def _keep(self) -> None:
        if self._file is not None:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
        self._refuse_existing()
        self._part.replace(self._path)

    def _refuse_existing(self) -> None:
        is_folder = self._path.is_dir()
        if not self._path.exists() or (self._overwrite and not is_folder):
            return
        hint = "it is a folder; name a file in it" if is_folder else "give another path, or overwrite=True"
        raise ValidationError([Problem("path", "path.exists", "exists already", str(self._path), hint)])

    def _discard(self) -> None:
        """What fails here must not hide what went wrong before: a full disk refuses the close, say."""
        with suppress(OSError):
            if self._file is not None:
                self._file.close()
        with suppress(OSError):
            self._part.unlink(missing_ok=True)


def _reason(error: OSError) -> str:
    return error.strerror or type(error).__name__


def _for_the_owner(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
