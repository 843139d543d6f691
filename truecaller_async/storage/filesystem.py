"""Detect network file systems, on which the journal works without a write-ahead log.

Algorithm:
    On Linux the mount table names the file system of each mount; the deepest mount that contains the path counts. On
    other systems the file is treated as local. File systems in user space (`fuse.*`) and folders shared by the host of
    a virtual machine count as network systems: a wrong guess only costs speed.

    Processes that use a write-ahead log coordinate through shared memory, which two machines do not share. Without one,
    SQLite uses a rollback file beside the database (`-journal`), which needs only byte-range locks and a reliable sync.
    The lock of the campaign journal allows one run at a time. NFS and SMB provide that if they are mounted with working
    locks.

Failure modes:
    - If locks are disabled or local (`nolock`, `local_lock`), two machines do not see each other's lock. This cannot be
      detected, so the journal logs a warning instead of refusing the file.
"""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath

MOUNTS = Path("/proc/self/mountinfo")
NETWORK = frozenset(
    (
        "9p", "afs", "beegfs", "ceph", "cifs", "coda", "davfs", "fuse", "gfs2", "glusterfs", "gpfs", "lustre", "ncpfs",
        "nfs", "nfs4", "ocfs2", "orangefs", "panfs", "prl_fs", "pvfs2", "smb3", "smbfs", "vboxsf", "virtiofs", "vmhgfs",
    )
)  # fmt: skip
ESCAPED = re.compile(r"\\([0-7]{3})")
"""How the mount table writes a space and other special characters."""

MOUNT_FIELDS_MIN = 5


def network_of(path: Path) -> str | None:
    """Return the name of the network file system that contains `path`, None if it is local or unknown."""
    try:
        mounts = MOUNTS.read_text(errors="surrogateescape")
    except OSError:
        return None
    name = file_system_of(os.path.realpath(path), mounts)
    return name if name is not None and is_network(name) else None


def is_network(file_system: str) -> bool:
    """Return whether another machine may serve the files of this file system."""
    return file_system in NETWORK or file_system.startswith("fuse.")


def file_system_of(path: str, mounts: str) -> str | None:
    """Return the file system of a path by the text of Linux's `mountinfo`, None if no mount contains it.

    Args:
        path: An absolute path without links.
        mounts: The mount table. The deepest mount counts; among mounts on the same folder, the last one.
    """
    target = PurePosixPath(path)
    depth, name = -1, None
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        fields, kind = before.split(" "), after.split(" ")[0]
        if len(fields) < MOUNT_FIELDS_MIN or not kind:
            continue
        mount_point = PurePosixPath(ESCAPED.sub(lambda found: chr(int(found[1], 8)), fields[4]))
        if len(mount_point.parts) >= depth and target.is_relative_to(mount_point):
            depth, name = len(mount_point.parts), kind
    return name
