"""The lock that allows one process at a time to write a journal: a lock file beside it.

Algorithm:
    The operating system releases the lock when the process ends, however it ends, so a remaining lock file blocks no
    process. The file contains process, host and time, for the error message of the next process. `release` deletes the
    file while the lock is held. So after locking, a process checks that the file still has its name, otherwise it
    retries with the new file.

    `holder` takes a shared lock for an instant, which can make a lock attempt fail. So `JournalLock` makes
    `LOCK_ATTEMPTS_MAX` attempts.

Failure modes:
    - On a network file system a deleted file may stay visible for seconds. There the lock file is kept (`keep_file`).
    - If the system has no such lock (Windows), nothing is locked. The caller must run one process per campaign.
"""

from __future__ import annotations

import os
import socket
import time
from datetime import UTC, datetime
from pathlib import Path

from truecaller_async.errors import JournalBusy, JournalError
from truecaller_async.storage.file_lock import HAS_LOCKS, open_lock_file, try_lock

LOCK_ATTEMPTS_MAX = 5
LOCK_PAUSE_SECONDS = 0.01
"""Pause between two attempts."""

CONTENT_MAX_BYTES = 400


class JournalLock:
    """The lock of a journal, held from construction to `release`.

    Args:
        path: The file of the journal.
        keep_file: Do not delete the lock file at the release.

    Raises:
        JournalBusy: Another process holds the lock. Its `pid` is that process, None if unknown.
        JournalError: The lock file cannot be created, locked or written.
    """

    def __init__(self, path: Path, *, keep_file: bool = False) -> None:
        self._file = lock_file(path)
        self._keep_file = keep_file
        self._descriptor: int | None = _acquire(path, self._file)
        text = f"{os.getpid()} {socket.gethostname()} {datetime.now(UTC).isoformat(timespec='seconds')}\n"
        try:
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, text.encode(errors="replace"), 0)
        except OSError as error:
            self.release()
            raise JournalError(
                f"the lock file {self._file} cannot be written: {error.strerror}. Free disk space."
            ) from None

    def release(self) -> None:
        """Release the lock. May be called twice."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is None:
            return
        try:
            # Deleted while the lock is held: after the release another process may already have locked this file.
            if HAS_LOCKS and not self._keep_file:
                self._file.unlink(missing_ok=True)
        except OSError:
            pass  # the folder became read-only; the remaining file blocks no process
        finally:
            os.close(descriptor)


def lock_file(path: Path) -> Path:
    """Return the path of the lock file of the journal at `path`."""
    return path.with_name(path.name + ".lock")


def holder(path: Path) -> int | None:
    """Return the id of the process that has the journal open, 0 if it is unknown, None if there is none."""
    if not HAS_LOCKS:
        return None
    try:
        descriptor = os.open(lock_file(path), os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        return None if try_lock(descriptor, shared=True) else _read_content(descriptor)[0] or 0
    except OSError:
        return None  # a file system without locks, so no process holds one
    finally:
        os.close(descriptor)


def _acquire(path: Path, file: Path) -> int:
    """Return the descriptor of the locked file."""
    for _ in range(LOCK_ATTEMPTS_MAX):
        descriptor = _open(file)
        pid, since = None, ""
        try:
            if not try_lock(descriptor):
                pid, since = _read_content(descriptor)
            elif _is_current(descriptor, file):
                return descriptor
        except OSError as error:
            os.close(descriptor)
            raise JournalError(
                f"the lock file {file} cannot be locked: {error.strerror}. Move the journal to a disk with file locks."
            ) from None
        os.close(descriptor)
        time.sleep(LOCK_PAUSE_SECONDS)
    owner = "another process" if pid is None else f"process {pid}{since}"
    raise JournalBusy(f"the journal {path} is in use by {owner}. Wait until it ends, or stop it.", pid=pid)


def _open(file: Path) -> int:
    try:
        return open_lock_file(file)
    except OSError as error:
        raise JournalError(
            f"the lock file {file} cannot be created: {error.strerror}. Check the permissions of its folder."
        ) from None


def _is_current(descriptor: int, file: Path) -> bool:
    # The previous holder may have deleted the file between our open and our lock.
    try:
        return os.path.samestat(os.fstat(descriptor), file.stat())
    except FileNotFoundError:
        return False


def _read_content(descriptor: int) -> tuple[int | None, str]:
    """Return the process that wrote the file, and " on HOST since TIME"."""
    fields = os.pread(descriptor, CONTENT_MAX_BYTES, 0).decode(errors="replace").split()
    if len(fields) != 3 or not fields[0].isdecimal():
        return None, ""
    return int(fields[0]), f" on {fields[1]} since {fields[2]}"
