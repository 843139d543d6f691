"""A file that is ours alone, because there are tokens or phone numbers in it.

It is created 0600, in folders 0700 where they are missing, and refused if it is a link, a folder or a device, if it is
somebody else's, or if others can read it. The same is asked of the files that SQLite keeps beside it: what is written
goes into them first, and in a folder of everybody's somebody else may have put them there. On systems without such
modes only the kind of file is looked at.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

import attrs

from truecaller_async.errors import ConfigError

BESIDE = ("-wal", "-shm", "-journal")


@attrs.frozen
class PrivateFile:
    """What the file is called in messages, what it `holds`, and the `setting` that would name another."""

    name: str
    holds: str
    setting: str

    def make(self, path: Path) -> None:
        """See to it that the file is there and is ours alone. Raises `ConfigError` where it cannot be."""
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
        self._judge(path, facts)
        self._judge_beside(path)

    def is_there(self, path: Path) -> bool:
        """Whether there is one, without making it. Raises `ConfigError` where it must not be used."""
        if not self._is_good(path):
            return False
        self._judge_beside(path)
        return True

    def _is_good(self, path: Path) -> bool:
        try:
            facts = path.lstat()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise self._unusable(path, error.strerror) from None
        self._judge(path, facts)
        return True

    def _judge_beside(self, path: Path) -> None:
        for suffix in BESIDE:
            self._is_good(path.with_name(path.name + suffix))

    def _judge(self, path: Path, facts: os.stat_result) -> None:
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
