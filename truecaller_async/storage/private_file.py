"""Create and check files that only their owner can read, because they hold tokens or phone numbers.

Algorithm:
    A missing file is created with mode 0600, missing folders with 0700. An unsafe file is refused: a link, a folder or
    a device, a file of another user, or one that others can read.
Invariants:
    - The same checks apply to the files beside a database (`SIDE_SUFFIXES`): SQLite writes new data to them first, and
      in a shared folder another user can create them beforehand.
Failure modes:
    - On systems without POSIX modes only the kind of the file is checked.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

import attrs

from truecaller_async.errors import ConfigError

SIDE_SUFFIXES = ("-wal", "-shm", "-journal")
"""The suffixes of the files that SQLite creates beside a database: log, shared memory, rollback journal."""


@attrs.frozen
class PrivateFile:
    """One kind of private file, with its texts for error messages."""

    name: str
    """The kind, such as "state file"."""
    holds: str
    """The content that others must not read, such as "access tokens"."""
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
        """Return whether the file exists, and check it; do not create it.

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
                f"the {self.name} {path} belongs to another user. Choose a file of your own with {self.setting}"
            )
        if stat.S_IMODE(facts.st_mode) & 0o077:
            raise ConfigError(
                f"the {self.name} {path} holds {self.holds} and others can read it "
                f"(mode {stat.S_IMODE(facts.st_mode):o}). Run chmod 600 on it."
            )

    def _unusable(self, path: Path, why: str | None) -> ConfigError:
        return ConfigError(f"the {self.name} {path} cannot be opened: {why}. Choose another with {self.setting}")
