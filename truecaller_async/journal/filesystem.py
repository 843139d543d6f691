"""Whether a file lies on a file system that other machines may have a hand in.

There the journal does without SQLite's log (WAL): those who use a log agree on it through shared memory, and no two
machines share any; on some of these systems a file cannot be mapped into memory at all. The rollback journal needs only
locks on ranges of bytes and a sync that is true, and one run at a time writes, by our own lock. NFS and SMB give that
where they are mounted with working locks. What they cannot give is this: where locks are switched off or kept local
(`nolock`, `local_lock`), two machines do not see each other. So it is used, and said aloud, and not refused.

Linux names the file system of each mount; elsewhere nothing is known, and the file is taken for a local one. Systems in
user space (`fuse.sshfs`) are counted as network systems, whatever is behind them: it costs only speed. The same goes
for folders that a virtual machine has from its host.
"""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath

MOUNTS = Path("/proc/self/mountinfo")
NETWORK = frozenset(
    (
        *(
            "9p",
            "afs",
            "beegfs",
            "ceph",
            "cifs",
            "coda",
            "davfs",
            "fuse",
            "gfs2",
            "glusterfs",
            "gpfs",
            "lustre",
            "ncpfs",
        ),
        *("nfs", "nfs4", "ocfs2", "orangefs", "panfs", "prl_fs", "pvfs2", "smb3", "smbfs"),
        *("vboxsf", "virtiofs", "vmhgfs"),
    )
)
ESCAPED = re.compile(r"\\([0-7]{3})")


def network_of(path: Path) -> str | None:
    """The name of the network file system on which `path` lies; None where it lies on another, or nobody knows."""
    try:
        mounts = MOUNTS.read_text(errors="surrogateescape")
    except OSError:
        return None
    name = file_system_of(os.path.realpath(path), mounts)
    return name if name is not None and is_network(name) else None


def is_network(file_system: str) -> bool:
    """Whether files on it may be served by another machine."""
    return file_system in NETWORK or file_system.startswith("fuse.")


def file_system_of(path: str, mounts: str) -> str | None:
    """The file system of an absolute path without links, by the text of Linux's mountinfo; None where none fits.

    The deepest mount has it, and of those on the same folder the last.
    """
    place = PurePosixPath(path)
    deepest, name = -1, None
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        fields, kind = before.split(" "), after.split(" ")[0]
        if len(fields) < 5 or not kind:
            continue
        point = PurePosixPath(ESCAPED.sub(lambda found: chr(int(found[1], 8)), fields[4]))
        if len(point.parts) >= deepest and place.is_relative_to(point):
            deepest, name = len(point.parts), kind
    return name
