"""Locks on files: exclusive, shared, and never through a link."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from truecaller_async.storage.file_lock import HAS_LOCKS, open_lock_file, try_lock

pytestmark = pytest.mark.skipif(not HAS_LOCKS, reason="this system has no flock")


@pytest.mark.parametrize(
    ("first", "second", "is_free"),
    [(False, False, False), (False, True, False), (True, False, False), (True, True, True)],
)
def test_only_shared_locks_exist_at_the_same_time(tmp_path: Path, first: bool, second: bool, is_free: bool) -> None:
    holder, other = open_lock_file(tmp_path / "x.lock"), open_lock_file(tmp_path / "x.lock")
    assert try_lock(holder, shared=first)
    assert try_lock(other, shared=second) is is_free
    os.close(holder)
    assert try_lock(other, shared=second)
    os.close(other)


def test_the_file_is_private_and_a_link_is_refused(tmp_path: Path) -> None:
    os.close(open_lock_file(tmp_path / "x.lock"))
    assert stat.S_IMODE((tmp_path / "x.lock").stat().st_mode) == 0o600
    (tmp_path / "link.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match=r"link\.lock"):
        open_lock_file(tmp_path / "link.lock")
    assert not (tmp_path / "elsewhere").exists()
