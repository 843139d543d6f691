"""The file system of a path is found in Linux's mount table."""

from __future__ import annotations

from pathlib import Path

import pytest

from truecaller_async.storage import filesystem
from truecaller_async.storage.filesystem import file_system_of, is_network, network_of

TABLE = r"""22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard
40 27 0:40 / /net rw shared:7 master:2 - nfs4 server:/export/net rw,vers=4.2,local_lock=none
41 40 0:41 / /net/me/disk rw - xfs /dev/vdb rw
42 27 0:42 / /mnt/two\040words rw - cifs //server/share rw
43 27 0:43 / /mnt/twice rw - autofs none rw
44 43 0:44 /sub /mnt/twice rw - nfs server:/x rw
45 27 0:45 / /mnt/ssh rw - fuse.sshfs me@host: rw
broken line
"""


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/campaign.db", "ext4"),
        ("/var/lib/campaign.db", "ext4"),
        ("/net/me/campaign.db", "nfs4"),
        ("/net", "nfs4"),
        ("/nets/campaign.db", "ext4"),
        ("/net/me/disk/a/campaign.db", "xfs"),
        ("/mnt/two words/campaign.db", "cifs"),
        ("/mnt/two", "ext4"),
        ("/mnt/twice/campaign.db", "nfs"),
        ("/mnt/ssh/campaign.db", "fuse.sshfs"),
        ("/proc/self", "proc"),
    ],
)
def test_deepest_last_mount_contains_the_path(path: str, expected: str) -> None:
    assert file_system_of(path, TABLE) == expected


@pytest.mark.parametrize("table", ["", "\n", "broken", "1 2 3 - ext4", "40 27 0:40 / /home rw - "])
def test_mount_table_without_entries_gives_nothing(table: str) -> None:
    assert file_system_of("/net/campaign.db", table) is None


@pytest.mark.fault("F54")
@pytest.mark.parametrize(
    "name", ["nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "fuse.sshfs", "fuse", "ceph", "virtiofs"]
)
def test_remote_file_system_is_a_network_system(name: str) -> None:
    assert is_network(name)


@pytest.mark.parametrize("name", ["ext4", "xfs", "btrfs", "zfs", "tmpfs", "overlay", "fuseblk", "apfs", "vfat"])
def test_local_disk_is_not_a_network_system(name: str) -> None:
    assert not is_network(name)


def test_path_is_resolved_through_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, link, table = tmp_path / "real", tmp_path / "link", tmp_path / "mountinfo"
    real.mkdir()
    link.symlink_to(real)
    table.write_text(f"1 1 0:1 / / rw - ext4 x rw\n2 1 0:2 / {real} rw - nfs4 server:/x rw\n")
    monkeypatch.setattr(filesystem, "MOUNTS", table)
    assert network_of(link / "campaign.db") == "nfs4"
    assert network_of(tmp_path / "campaign.db") is None


def test_system_without_the_table_has_local_files_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filesystem, "MOUNTS", tmp_path / "none")
    assert network_of(tmp_path / "campaign.db") is None
