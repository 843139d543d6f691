"""Read which environment variables are set, and the state file: names and modes only, never a value."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from truecaller_async.cli.account_options import AccountOptions
from truecaller_async.cli.doctor.checks import Configuration, StateFile

PREFIX = "TRUECALLER_"
CREDENTIALS = ("TRUECALLER_CLIENT_ACCOUNT_ID", "TRUECALLER_KEY_ID", "TRUECALLER_API_KEY")
BASE_URL = "TRUECALLER_BASE_URL"
SETTINGS = ("TRUECALLER_API_VERSION", "TRUECALLER_LIMITS", "TRUECALLER_MAX_TOKENS", "TRUECALLER_STATE")
OTHER_VARIABLES = (
    "TRUECALLER_WEBHOOK_KEY",
    "TRUECALLER_WEBHOOK_KEY_FILE",
    "TRUECALLER_DEBUG",
    "TRUECALLER_SANDBOX_LABEL_ID",
    "TRUECALLER_SANDBOX_WEBHOOK",
)
"""Variables that the package reads or prints, but that do not configure a client."""
KNOWN = frozenset({*CREDENTIALS, *(f"{name}_FILE" for name in CREDENTIALS), BASE_URL, *SETTINGS, *OTHER_VARIABLES})
SQLITE = "sqlite:///"


def read_environment(account: AccountOptions, environ: Mapping[str, str] = os.environ) -> Configuration:
    """Return which variables are set, and the state file.

    Args:
        account: The account options of the command.
        environ: Environment variables.
    """
    from truecaller_async.client import BASE_URL as DEFAULT_BASE_URL  # imports aiohttp

    sources = {name: _source(name, environ) for name in CREDENTIALS}
    return Configuration(
        credentials=tuple(source for source in sources.values() if source),
        missing=tuple(name for name, source in sources.items() if not source),
        settings=tuple(name for name in SETTINGS if environ.get(name)),
        unknown=tuple(sorted(name for name in environ if name.startswith(PREFIX) and name not in KNOWN)),
        base_url=environ.get(BASE_URL) or DEFAULT_BASE_URL,
        base_url_from=BASE_URL if environ.get(BASE_URL) else "the default",
        state_file=_state_file(account.state_url(environ)),
    )


def _source(name: str, environ: Mapping[str, str]) -> str | None:
    """Return the variable from which a credential is read; None if it is not set."""
    if environ.get(name, "").strip():
        return name
    return f"{name}_FILE" if environ.get(f"{name}_FILE") else None


def _state_file(url: str) -> StateFile | None:
    if not url.startswith(SQLITE):
        return None
    path = Path(url.removeprefix(SQLITE)).expanduser()
    try:
        mode = stat.S_IMODE(path.lstat().st_mode)
    except OSError:
        mode = None
    existing = path if mode is not None else next((folder for folder in path.parents if folder.exists()), path)
    return StateFile(str(path), mode, os.access(existing, os.W_OK))
