"""S06: no secret is a command-line option, because process lists show the options."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from truecaller_async.cli.app import app

from .canary import leaks, traces_of_secret
from .host import ACCOUNT, KEY

SECRETIVE = ("key", "secret", "password", "passwd", "token", "credential", "auth", "bearer")
NO_SECRETS = {"tokens", "token-life"}
"""Options that are about tokens but take a count or a time."""


def commands(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        for name, below in command.commands.items():
            yield from commands(below, (*path, name))


def names_of(parameter: click.Parameter) -> set[str]:
    """Return the name of an option and its placeholder."""
    names = {name.lstrip("-") for name in (*parameter.opts, *parameter.secondary_opts)}
    return {name.lower() for name in (*names, parameter.metavar or "")}


def secretive(command: click.Command) -> list[str]:
    """Return the options and arguments of a command that seem to take a secret."""
    return [
        name
        for parameter in command.params
        for name in names_of(parameter) - NO_SECRETS
        if any(part in name for part in SECRETIVE)
    ]


@pytest.mark.fault("S06")
def test_no_option_or_argument_accepts_a_secret() -> None:
    found = {" ".join(path): secretive(command) for path, command in commands(app)}
    assert len(found) > 20
    assert {name: names for name, names in found.items() if names} == {}


@pytest.mark.fault("S06")
@pytest.mark.parametrize("option", ["--api-key", "--key", "--password", "--auth"])
def test_option_that_accepts_a_secret_is_detected(option: str) -> None:
    assert secretive(click.Command("x", params=[click.Option([option])]))


@pytest.mark.fault("S06")
@pytest.mark.parametrize("option", ["--api-key", "--key", "--token", "--secret", "--password"])
def test_secret_option_is_refused_and_its_value_is_not_repeated(option: str) -> None:
    for path, command in commands(app):
        if not isinstance(command, click.Group):
            result = CliRunner().invoke(app, [*path, f"{option}={KEY}"])
            assert result.exit_code == 2
            assert leaks({"key": traces_of_secret(KEY)}, [("output", result.output)]) == []


@pytest.mark.fault("S06")
def test_no_option_default_comes_from_a_secret_variable() -> None:
    variables = {
        variable
        for _, command in commands(app)
        for parameter in command.params
        for variable in ([parameter.envvar] if isinstance(parameter.envvar, str) else parameter.envvar or ())
    }
    assert not [name for name in variables if "KEY" in name or "SECRET" in name]


@pytest.mark.fault("S06")
def test_missing_variables_are_named_and_present_values_are_not_shown() -> None:
    environ = {"TRUECALLER_API_KEY": KEY, "TRUECALLER_CLIENT_ACCOUNT_ID": ACCOUNT, "TRUECALLER_KEY_ID": None}
    result = CliRunner(env=environ).invoke(app, ["labels", "list"])
    assert result.exit_code == 3
    assert "TRUECALLER_KEY_ID" in result.output
    assert leaks({"key": traces_of_secret(KEY)}, [("output", result.output)]) == []
