"""Lock files exclusively or shared; the system releases the locks when the process ends.

Failure modes:
    - If the system has no `flock` (Windows), `HAS_LOCKS` is False and every attempt succeeds. There the caller must run
      one process only.
"""

from __future__ import annotations

import os
from pathlib import Path

try:
    import fcntl
except ImportError:  # no such lock on this system
    fcntl = None  # type: ignore[assignment]

HAS_LOCKS = fcntl is not None


def open_lock_file(path: Path) -> int:
    """Open the file, create it (mode 0600) if it is missing, and return its descriptor.

    A link is not followed.

    Raises:
        OSError: The file cannot be opened.
    """
    return os.open(path, os.O_CREAT | os.O_RDWR | getattr(os, "O_NOFOLLOW", 0), 0o600)


def try_lock(handle: int, *, shared: bool = False) -> bool:
    """Lock an open file without waiting; return False if another lock excludes this one.

    Args:
        handle: The descriptor. Closing it releases the lock.
        shared: Allow other shared locks at the same time.

    Raises:
        OSError: The file system has no locks.
    """
    if fcntl is None:
        return True
    try:
        fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
