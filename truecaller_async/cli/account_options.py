"""Options of every command that uses an account, and the client that they configure.

Credentials come from the environment only, because other users of the machine can list the arguments of a process.
Settings with an environment variable can be overridden by an option. Tokens are kept in a file by default, because
commands are short: if each one minted its own token, ten commands would use up the mint limit of half an hour.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import attrs
import click

from truecaller_async.cli.param_types import limit, parse_duration
from truecaller_async.options import Limits, Timeouts

if TYPE_CHECKING:
    from truecaller_async.client import TruecallerClient
    from truecaller_async.ports import Observer

VERSIONS = ("v1", "v2", "v3")
Command = TypeVar("Command", bound=Callable[..., Any])


@attrs.frozen
class AccountOptions:
    """Values of the account options; None means the environment variable or the default."""

    limits: tuple[str, ...] = ()
    """Values of `--limit`, such as `batch=60/60`."""
    tokens: int | None = None
    """Maximum number of live tokens."""
    api_version: str | None = None
    """Version of the API."""
    state: str | None = None
    """State URL: `memory:` or `sqlite:///PATH`."""
    read_timeout: float = 30.0
    """Seconds without a byte after which a request fails."""

    @classmethod
    def pop_from(cls, params: dict[str, Any]) -> AccountOptions:
        """Remove the account options from the parameters of a command, and return them."""
        return cls(**{field.name: params.pop(field.name, field.default) for field in attrs.fields(cls)})

    def client(self, environ: Mapping[str, str] = os.environ, *, observer: Observer | None = None) -> TruecallerClient:
        """Create the client.

        Args:
            environ: Environment variables.
            observer: Receives requests and events; None logs them.

        Raises:
            ConfigError: A setting is missing or wrong.
        """
        # The client imports aiohttp; --help must not.
        from truecaller_async.client import TruecallerClient
        from truecaller_async.settings import settings_from

        settings = settings_from(environ)
        settings["timeouts"] = Timeouts(read=self.read_timeout)
        settings["state"] = self.state_url(environ)
        if self.limits:
            from_environment = settings.get("limits")
            base = from_environment if isinstance(from_environment, Limits) else Limits.documented()
            settings["limits"] = base.parse(",".join(self.limits))
        if self.tokens is not None:
            settings["max_tokens"] = self.tokens
        if self.api_version is not None:
            settings["api_version"] = self.api_version
        return TruecallerClient(**settings, observer=observer)  # type: ignore[arg-type]

    def state_url(self, environ: Mapping[str, str] = os.environ) -> str:
        """Return the state URL: the option, or else the environment variable, or else the default file."""
        return self.state or environ.get("TRUECALLER_STATE") or default_state(environ)


def state_folder(environ: Mapping[str, str]) -> Path:
    """Return the folder `truecaller` in `$XDG_STATE_HOME`, or in `~/.local/state`."""
    folder = Path(environ.get("XDG_STATE_HOME", ""))
    if not folder.is_absolute():
        folder = Path.home() / ".local" / "state"
    return folder / "truecaller"


def default_state(environ: Mapping[str, str]) -> str:
    """Return the state URL of `state.db` in the state folder."""
    return f"sqlite:///{state_folder(environ) / 'state.db'}"


def account_options(command: Command) -> Command:
    """Add the account options to a command."""
    for option in (
        click.option(
            "--read-timeout",
            type=parse_duration,
            metavar="DURATION",
            default="30s",
            show_default=True,
            help="Fail a request after this time without a byte.",
        ),
        click.option(
            "--state",
            metavar="URL",
            help="Where tokens are kept: memory: or sqlite:///PATH.  [default: a file in $XDG_STATE_HOME/truecaller]",
        ),
        click.option("--api-version", type=click.Choice(VERSIONS), help="Version of the API.  [default: v2]"),
        click.option("--tokens", type=int, help="Maximum number of live tokens.  [default: 10]"),
        click.option(
            "--limit",
            "limits",
            type=limit,
            metavar="NAME=LIMIT/SECONDS",
            multiple=True,
            help="A limit of the account, such as batch=60/60; repeatable.",
        ),
    ):
        command = option(command)
    return command
