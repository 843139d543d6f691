"""What every command has in common: usage, errors, and running without the libraries."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from truecaller_async import ConfigError, __version__
from truecaller_async.cli.app import Commands, app

from .driving import REPOSITORY, environment


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def group_of(error: BaseException) -> Commands:
    @click.command()
    def fail() -> None:
        raise error

    return Commands(commands={"fail": fail})


def python(program: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """A program that is run by an interpreter of its own."""
    return subprocess.run(  # noqa: S603 - our own interpreter and our own program
        [sys.executable, "-c", program],
        env=environment(folder),
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_version_is_the_package_s() -> None:
    assert invoke("--version").output == f"truecaller {__version__}\n"


@pytest.mark.parametrize("command", ["", "demo", "sandbox", "push", "campaign", "campaign run"])
def test_every_command_has_its_help(command: str) -> None:
    result = invoke(*command.split(), "--help")
    assert result.exit_code == 0
    assert result.output.startswith("Usage: ")


@pytest.mark.parametrize(
    "line",
    [
        "nonsense",
        "demo --records 0",
        "demo --records many",
        "sandbox --port 70000",
        "sandbox --limits slow",
        "sandbox --resolve-after soon",
        "push --caller 911140001234",
        "push --caller 911140001234 --receiver 919812340000 --for 0s",
        "campaign run",
        "campaign run x.csv --limit batch=60",
        "campaign run x.csv --limit bulk=60/60",
        "campaign run x.csv --window later",
        "campaign run x.csv --on-ambiguous guess",
        "campaign run x.csv --api-version v9",
        "campaign run x.csv --json --results -",
        "campaign run x.csv --api-key secret",
    ],
)
def test_wrong_usage_is_2_and_says_how_to_find_out(line: str) -> None:
    result = invoke(*line.split())
    assert result.exit_code == 2
    assert "--help" in result.stderr


def options_of(command: click.Command) -> set[str]:
    """The names of all options of a command and of those under it."""
    below = command.commands.values() if isinstance(command, click.Group) else ()
    own = {name for parameter in command.params for name in parameter.opts}
    return own.union(*(options_of(each) for each in below))


def test_no_secret_is_an_option() -> None:
    options = options_of(app)
    assert "--receiver" in options
    assert not [name for name in options if any(word in name for word in ("key", "secret", "password", "account"))]


def test_an_error_of_the_library_is_a_message_and_its_code() -> None:
    result = CliRunner().invoke(group_of(ConfigError("max_tokens is 0")), ["fail"])
    assert (result.exit_code, result.stderr) == (3, "Error: max_tokens is 0\n")


def test_a_defect_is_one_line_and_1(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRUECALLER_DEBUG", raising=False)
    result = CliRunner().invoke(group_of(ZeroDivisionError("oops")), ["fail"])
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    assert "ZeroDivisionError: oops" in result.stderr


def test_a_defect_shows_where_it_is_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRUECALLER_DEBUG", "1")
    result = CliRunner().invoke(group_of(ZeroDivisionError("oops")), ["fail"])
    assert result.exit_code == 1
    assert "Traceback" in result.stderr


def test_an_interrupted_command_is_130() -> None:
    assert CliRunner().invoke(group_of(KeyboardInterrupt()), ["fail"]).exit_code == 130


@pytest.mark.parametrize("missing", ["click", "rich"])
def test_without_its_libraries_the_command_says_what_to_install(missing: str, tmp_path: Path) -> None:
    program = (
        f"import sys; sys.modules[{missing!r}] = None; sys.argv = ['truecaller', '--help']\n"
        "import truecaller_async.cli as cli; cli.main()"
    )
    result = python(program, tmp_path)
    assert result.returncode == 3
    assert 'pip install "truecaller-async[cli]"' in result.stderr
    assert result.stdout == ""


def test_help_does_not_load_the_drawing_and_the_server(tmp_path: Path) -> None:
    program = (
        "import sys\nfrom truecaller_async.cli.app import app\n"
        "try:\n    app(['campaign', 'run', '--help'])\n"
        "except SystemExit:\n    pass\n"
        "heavy = {'rich.live', 'rich.table', 'aiohttp.web', 'truecaller_async.sandbox'} & sys.modules.keys()\n"
        "sys.exit(','.join(sorted(heavy)) or 0)"
    )
    result = python(program, tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
