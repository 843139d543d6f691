"""The account's side of a command: the options that say how the service is talked to, and the client they make.

Credentials come from the environment only: an option is seen by everybody who lists processes. What has a variable of
its own can be overridden by an option. State is kept on disk unless something else is asked for, because commands are
short, and each that made its own tokens would spend the budget of ten in half an hour.
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
    """The values of the options. None means: as the environment says, or the default."""

    limits: tuple[str, ...] = ()
    tokens: int | None = None
    api_version: str | None = None
    state: str | None = None
    read_timeout: float = 30.0

    @classmethod
    def out_of(cls, given: dict[str, Any]) -> AccountOptions:
        """Takes its own values out of the parameters of a command."""
        return cls(**{field.name: given.pop(field.name, field.default) for field in attrs.fields(cls)})

    def client(self, environ: Mapping[str, str] = os.environ, *, observer: Observer | None = None) -> TruecallerClient:
        """The client. Raises `ConfigError`."""
        from truecaller_async.client import TruecallerClient
        from truecaller_async.settings import settings_from

        settings = settings_from(environ)
        settings["timeouts"] = Timeouts(read=self.read_timeout)
        settings["state"] = self.state_url(environ)
        if self.limits:
            known = settings.get("limits")
            base = known if isinstance(known, Limits) else Limits.documented()
            settings["limits"] = base.parse(",".join(self.limits))
        if self.tokens is not None:
            settings["max_tokens"] = self.tokens
        if self.api_version is not None:
            settings["api_version"] = self.api_version
        return TruecallerClient(**settings, observer=observer)  # type: ignore[arg-type]

    def state_url(self, environ: Mapping[str, str] = os.environ) -> str:
        """Where tokens live: the option, else the variable, else a file of the user's."""
        return self.state or environ.get("TRUECALLER_STATE") or default_state(environ)


def state_folder(environ: Mapping[str, str]) -> Path:
    """`truecaller` in the user's folder for what programs keep."""
    folder = Path(environ.get("XDG_STATE_HOME", ""))
    if not folder.is_absolute():
        folder = Path.home() / ".local" / "state"
    return folder / "truecaller"


def default_state(environ: Mapping[str, str]) -> str:
    """`state.db` in that folder, as a state URL."""
    return f"sqlite:///{state_folder(environ) / 'state.db'}"


def connection_options(command: Command) -> Command:
    """The options that every command has that works with an account."""
    for option in (
        click.option(
            "--read-timeout",
            type=parse_duration,
            metavar="DURATION",
            default="30s",
            show_default=True,
            help="Silence after which an answer is given up.",
        ),
        click.option(
            "--state", metavar="URL", help="Where tokens live: memory: or sqlite:///PATH.  [default: a file of yours]"
        ),
        click.option("--api-version", type=click.Choice(VERSIONS), help="Version of the API.  [default: v2]"),
        click.option("--tokens", type=int, help="Tokens alive at once, at most.  [default: 10]"),
        click.option(
            "--limit",
            "limits",
            type=limit,
            metavar="NAME=LIMIT/SECONDS",
            multiple=True,
            help="A limit of your account, such as batch=60/60; may be repeated.",
        ),
    ):
        command = option(command)
    return command
