"""Location of the event database."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from truecaller_async.errors import ConfigError
from truecaller_async.storage.private_file import PrivateFile

MEMORY = "memory:"
SQLITE = "sqlite:///"
STORE_FILE = PrivateFile("store", "phone numbers", "store=")


def path_of(store: str | Path | None, environ: Mapping[str, str] = os.environ) -> Path | None:
    """Return the file for a value of `store`, or None for `memory:`.

    Args:
        store: None for a file in the user's state directory, `memory:`, `sqlite:///PATH`, or a path.
        environ: Environment variables.

    Raises:
        ConfigError: The value is none of these.
    """
    if store is None:
        return _default(environ)
    if store == MEMORY:
        return None
    if isinstance(store, str) and store.startswith(SQLITE):
        store = Path(store.removeprefix(SQLITE)).expanduser()
    if not isinstance(store, Path) or not store.name:
        raise ConfigError(
            "store must be memory:, sqlite:///PATH or a pathlib.Path; without it a file in your state directory is used"
        )
    return store


def _default(environ: Mapping[str, str]) -> Path:
    folder = Path(environ.get("XDG_STATE_HOME", ""))
    if not folder.is_absolute():
        folder = Path.home() / ".local" / "state"
    return folder / "truecaller" / "webhooks.db"
