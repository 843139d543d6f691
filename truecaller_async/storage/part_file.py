"""Write a file that exists completely or not at all.

Algorithm:
    The content is written to a file beside the target, with a random suffix and `.part`. When it is complete and on the
    disk, it is renamed. The suffix is new each time, so that two writers of one target do not write into each other's
    file, and the rest of a killed process does not matter.
Invariants:
    - Only the owner can read the file (mode 0600), because exports contain phone numbers.
    - After an error the part file is removed.
    - Writing runs in threads, so that a slow disk does not block the event loop. Opening and removing do not, so that a
      cancelled task leaves nothing behind.
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

SUFFIX_CHARS = 8


class PartFile:
    """An `async with` block in which the file is written. Leaving it without an error renames the file.

    Args:
        path: The target.
        overwrite: Whether an existing file is replaced.

    Raises:
        ValidationError: On entering, `path` is a folder, or exists and may not be overwritten.
        ConfigError: The file cannot be written.
    """

    def __init__(self, path: Path, *, overwrite: bool) -> None:
        self._path = path
        self._overwrite = overwrite
        self._part = path.with_name(f"{path.name}.{secrets.token_hex(SUFFIX_CHARS // 2)}.part")
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
        """Append to the file. Raises `ConfigError` if it cannot be written."""
        if self._file is not None:
            await self._try(self._file.write, piece)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        is_complete = False
        try:
            if kind is None:
                await self._try(self._complete)
                is_complete = True
        finally:
            if not is_complete:
                self._discard()

    async def _try(self, work: Callable[..., T], *arguments: object) -> T:
        try:
            return await asyncio.to_thread(work, *arguments)
        except OSError as error:
            reason = _reason(error)
        raise self._failure(reason)

    def _failure(self, reason: str) -> ConfigError:
        return ConfigError(
            f"the file {self._part} cannot be written: {reason}. Nothing was kept; check the folder, its permissions "
            "and the free space, then retry."
        )

    def _open(self) -> BinaryIO:
        self._check_target()
        return open(self._part, "xb", opener=_open_private)

    def _complete(self) -> None:
        if self._file is not None:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
        self._check_target()
        self._part.replace(self._path)

    def _check_target(self) -> None:
        is_folder = self._path.is_dir()
        if not self._path.exists() or (self._overwrite and not is_folder):
            return
        hint = "it is a folder; name a file in it" if is_folder else "give another path, or overwrite=True"
        raise ValidationError([Problem("path", "path.exists", "exists already", str(self._path), hint)])

    def _discard(self) -> None:
        # Errors are ignored: they would hide the first error. For example, a full disk makes the close fail too.
        with suppress(OSError):
            if self._file is not None:
                self._file.close()
        with suppress(OSError):
            self._part.unlink(missing_ok=True)


def _reason(error: OSError) -> str:
    return error.strerror or type(error).__name__


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
