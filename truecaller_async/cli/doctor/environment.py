"""What a command finds around itself: which variables are set, and the state file. Names and modes, never a value."""

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
ELSEWHERE = (
    "TRUECALLER_WEBHOOK_KEY",
    "TRUECALLER_WEBHOOK_KEY_FILE",
    "TRUECALLER_DEBUG",
    "TRUECALLER_SANDBOX_LABEL_ID",
    "TRUECALLER_SANDBOX_WEBHOOK",
)
"""Read, or written for others, but not by a client."""
KNOWN = frozenset({*CREDENTIALS, *(f"{name}_FILE" for name in CREDENTIALS), BASE_URL, *SETTINGS, *ELSEWHERE})
SQLITE = "sqlite:///"


def read_environment(connection: AccountOptions, environ: Mapping[str, str] = os.environ) -> Configuration:
    """The facts about variables and state."""
    from truecaller_async.client import BASE_URL as DEFAULT

    sources = {name: _source(name, environ) for name in CREDENTIALS}
    return Configuration(
        credentials=tuple(source for source in sources.values() if source),
        missing=tuple(name for name, source in sources.items() if not source),
        settings=tuple(name for name in SETTINGS if environ.get(name)),
        strange=tuple(sorted(name for name in environ if name.startswith(PREFIX) and name not in KNOWN)),
        base_url=environ.get(BASE_URL) or DEFAULT,
        base_url_from=BASE_URL if environ.get(BASE_URL) else "the default",
        state=_state_file(connection.state_url(environ)),
    )


def _source(name: str, environ: Mapping[str, str]) -> str | None:
    """The variable that a credential is read from."""
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
    there = path if mode is not None else next((folder for folder in path.parents if folder.exists()), path)
    return StateFile(str(path), mode, os.access(there, os.W_OK))
