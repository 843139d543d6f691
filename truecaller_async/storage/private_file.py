"""Files that only their owner can read, because they hold access tokens or phone numbers.

Purpose: create such a file (mode 0600, missing folders 0700) and refuse an unsafe one. A file is unsafe if it is a
link, a folder or a device, if it belongs to another user, or if others can read it.

Invariants: SQLite writes new data first to the files beside the database (`SIDE_SUFFIXES`), and in a shared folder
another user can create them beforehand. So the same checks apply to them.

Failure modes: on systems without POSIX modes only the kind of the file is checked.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

import attrs

from truecaller_async.errors import ConfigError

SIDE_SUFFIXES = ("-wal", "-shm", "-journal")
"""What SQLite appends to the name of a database to name the files beside it."""


@attrs.frozen
class PrivateFile:
    """The words for one kind of private file in error messages."""

    name: str
    """What the file is called, such as "state file"."""
    holds: str
    """What must not be read by others, such as "access tokens"."""
    setting: str
    """The option that names another file, such as "state="."""

    def make(self, path: Path) -> None:
        """Create the file if it is missing, and check it.

        Raises:
            ConfigError: The file cannot be created or is unsafe.
        """
        try:
            for folder in reversed(path.absolute().parents):
                folder.mkdir(mode=0o700, exist_ok=True)
            handle = os.open(path, os.O_CREAT | os.O_RDWR | getattr(os, "O_NOFOLLOW", 0), 0o600)
        except OSError as error:
            raise self._unusable(path, error.strerror) from None
        try:
            facts = os.fstat(handle)
        finally:
            os.close(handle)
        self._check(path, facts)
        self._check_side_files(path)

    def is_there(self, path: Path) -> bool:
        """Return whether the file exists; check it, but do not create it.

        Raises:
            ConfigError: The file is unsafe.
        """
        if not self._exists(path):
            return False
        self._check_side_files(path)
        return True

    def _exists(self, path: Path) -> bool:
        try:
            facts = path.lstat()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise self._unusable(path, error.strerror) from None
        self._check(path, facts)
        return True

    def _check_side_files(self, path: Path) -> None:
        for suffix in SIDE_SUFFIXES:
            self._exists(path.with_name(path.name + suffix))

    def _check(self, path: Path, facts: os.stat_result) -> None:
        if not stat.S_ISREG(facts.st_mode):
            raise self._unusable(path, "it is a link, a folder or a device")
        if os.name != "posix":
            return
        if facts.st_uid != os.getuid():
            raise ConfigError(
                f"the {self.name} {path} belongs to another user; name one of your own with {self.setting}"
            )
        if stat.S_IMODE(facts.st_mode) & 0o077:
            raise ConfigError(
                f"the {self.name} {path} holds {self.holds} and others can read it "
                f"(mode {stat.S_IMODE(facts.st_mode):o}); run chmod 600 on it"
            )

    def _unusable(self, path: Path, why: str | None) -> ConfigError:
        return ConfigError(f"the {self.name} {path} cannot be opened: {why}; name another with {self.setting}")
