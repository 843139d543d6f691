"""One process at a time: a lock on the file beside the journal.

The system takes the lock away when the process ends, however it ends, so a lock file that was left behind locks nobody
out. In it stand the process, the host and the time, to be named to others. Who lets go deletes the file while the lock
is held; so whoever got the lock looks whether the file is still the one of that name, and tries again if not.

On a network file system it `stays`: there the name may show the deleted file for some seconds more.

A look from outside (`holder`) takes the shared lock for an instant; that is why a refusal is believed only after some
tries. Where the system has no such lock (Windows), nothing is held: there, see to it that one process runs a campaign.
"""

from __future__ import annotations

import os
import socket
import time
from datetime import UTC, datetime
from pathlib import Path

from truecaller_async.errors import JournalBusy, JournalError
from truecaller_async.storage.file_lock import HAS_LOCKS, open_lock_file, try_lock

TRIES = 5
PAUSE = 0.01
CONTENT_MAX = 400


class JournalLock:
    """The lock of the journal at `path`, held from birth to `release`. Its file `stays` behind where asked."""

    def __init__(self, path: Path, *, stays: bool = False) -> None:
        self._file = lock_file(path)
        self._stays = stays
        self._handle: int | None = _taken(path, self._file)
        text = f"{os.getpid()} {socket.gethostname()} {datetime.now(UTC).isoformat(timespec='seconds')}\n"
        try:
            os.ftruncate(self._handle, 0)
            os.pwrite(self._handle, text.encode(errors="replace"), 0)
        except OSError as error:
            self.release()
            raise JournalError(f"the lock {self._file} cannot be written: {error.strerror}; free space") from None

    def release(self) -> None:
        """Let go. May be called twice."""
        handle, self._handle = self._handle, None
        if handle is None:
            return
        try:
            if HAS_LOCKS and not self._stays:
                self._file.unlink(missing_ok=True)
        except OSError:
            pass  # a folder that became read-only: the file stays, and locks nobody out
        finally:
            os.close(handle)


def lock_file(path: Path) -> Path:
    """The file that is locked for the journal at `path`."""
    return path.with_name(path.name + ".lock")


def holder(path: Path) -> int | None:
    """The process that works on the journal at `path` now, 0 where that is not known; None where nobody does."""
    if not HAS_LOCKS:
        return None
    try:
        handle = os.open(lock_file(path), os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        return None if try_lock(handle, shared=True) else _content(handle)[0] or 0
    except OSError:
        return None  # a file system without such locks: nobody can hold one
    finally:
        os.close(handle)


def _taken(path: Path, file: Path) -> int:
    """The handle of the locked file. Raises `JournalBusy` where another holds it."""
    for _ in range(TRIES):
        handle = _opened(file)
        pid, since = None, ""
        try:
            if not try_lock(handle):
                pid, since = _content(handle)
            elif _is_still(handle, file):
                return handle
        except OSError as error:
            os.close(handle)
            raise JournalError(f"the lock {file} cannot be had: {error.strerror}") from None
        os.close(handle)
        time.sleep(PAUSE)
    who = "another process" if pid is None else f"process {pid}{since}"
    raise JournalBusy(f"the journal {path} is in use by {who}; wait for its end, or stop it", pid=pid)


def _opened(file: Path) -> int:
    try:
        return open_lock_file(file)
    except OSError as error:
        raise JournalError(
            f"the lock {file} cannot be made: {error.strerror}; see to the rights on its folder"
        ) from None


def _is_still(handle: int, file: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), file.stat())
    except FileNotFoundError:
        return False


def _content(handle: int) -> tuple[int | None, str]:
    """The process that wrote it, and " on HOST since TIME"."""
    words = os.pread(handle, CONTENT_MAX, 0).decode(errors="replace").split()
    if len(words) != 3 or not words[0].isdecimal():
        return None, ""
    return int(words[0]), f" on {words[1]} since {words[2]}"
