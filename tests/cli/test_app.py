"""All commands: help, usage errors, exceptions, and missing libraries."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from truecaller_async import ConfigError, __version__
from truecaller_async.cli.app import RootGroup, app
from truecaller_async.cli.exit_codes import MEANINGS

from .shell import REPOSITORY, environment


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def group_of(error: BaseException) -> RootGroup:
    @click.command()
    def fail() -> None:
        raise error

    return RootGroup(commands={"fail": fail})


def python(program: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a program in a new interpreter."""
    return subprocess.run(  # noqa: S603 - our own interpreter and our own program
        [sys.executable, "-c", program],
        env=environment(folder),
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )


def test_version_is_the_package_version() -> None:
    assert invoke("--version").output == f"truecaller {__version__}\n"


def commands_under(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield path
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands_under(command, (*path, name))
        else:
            yield (*path, name)


ID = "00000000-0000-4000-8000-000000000000"


@pytest.mark.parametrize("command", [" ".join(path) for path in commands_under(app)])
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
        "batch status",
        "batch status some-batch --timeout 5m",
        "batch status some-batch --wait --timeout soon",
        "labels list --page 0",
        "labels list --page-size many",
        "labels list --limit many",
        "feature-sets list --department 7",
        f"feature-sets list --feature-set {ID}",
        f"feature-sets list --department {ID} --process {ID}",
        f"numbers list --feature-set {ID} --operation {ID}",
        "numbers list --process ../../token",
        f"numbers publish {ID}",
        "numbers publish ../../token x.txt",
        f"numbers publish {ID} x.txt --wait 0s",
        f"numbers delist {ID} x.txt --wait 5s",
        "token",
        "token status now",
        "doctor here",
    ],
)
def test_wrong_usage_exits_2_and_points_to_help(line: str) -> None:
    result = invoke(*line.split())
    assert result.exit_code == 2
    assert "--help" in result.stderr


def options_of(command: click.Command) -> set[str]:
    """Return the names of all options of a command and its subcommands."""
    below = command.commands.values() if isinstance(command, click.Group) else ()
    own = {name for parameter in command.params for name in parameter.opts}
    return own.union(*(options_of(each) for each in below))


def test_no_secret_is_an_option() -> None:
    options = options_of(app)
    assert "--receiver" in options
    assert not [name for name in options if any(word in name for word in ("key", "secret", "password", "account"))]


def test_no_option_has_two_meanings() -> None:
    for path in commands_under(app):
        command: click.Command = app
        for name in path:
            assert isinstance(command, click.Group)
            command = command.commands[name]
        flags = [flag for parameter in command.params for flag in parameter.opts]
        assert len(flags) == len(set(flags)), path


def test_commands_are_listed_in_order_of_first_use() -> None:
    section = invoke("--help").output.partition("Commands:\n")[2].partition("\n\n")[0]
    listed = [line.split()[0] for line in section.splitlines()]
    assert listed[:4] == ["demo", "sandbox", "doctor", "push"]
    assert len(listed) == len(app.commands)


def test_campaign_commands_are_listed_in_order_of_use() -> None:
    section = invoke("campaign", "--help").output.partition("Commands:\n")[2]
    names = [line.split()[0] for line in section.splitlines()]
    assert names == ["run", "resume", "status", "report", "results", "decide", "purge"]


def test_root_help_lists_the_exit_codes() -> None:
    section = " ".join(invoke("--help").output.partition("Exit codes:\n")[2].split())
    assert section == " ".join(f"{code} {meaning}" for code, meaning in MEANINGS.items())
    assert "Exit codes:" not in invoke("campaign", "--help").output


def test_library_error_becomes_message_and_exit_code() -> None:
    result = CliRunner().invoke(group_of(ConfigError("max_tokens is 0")), ["fail"])
    assert (result.exit_code, result.stderr) == (3, "Error: max_tokens is 0\n")


def test_internal_error_is_one_line_and_exits_1(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRUECALLER_DEBUG", raising=False)
    result = CliRunner().invoke(group_of(ZeroDivisionError("oops")), ["fail"])
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    assert "ZeroDivisionError: oops" in result.stderr


def test_internal_error_shows_traceback_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRUECALLER_DEBUG", "1")
    result = CliRunner().invoke(group_of(ZeroDivisionError("oops")), ["fail"])
    assert result.exit_code == 1
    assert "Traceback" in result.stderr


def test_interrupted_command_exits_130() -> None:
    assert CliRunner().invoke(group_of(KeyboardInterrupt()), ["fail"]).exit_code == 130


@pytest.mark.parametrize("missing", ["click", "rich"])
def test_missing_dependencies_are_reported_with_install_advice(missing: str, tmp_path: Path) -> None:
    program = (
        f"import sys; sys.modules[{missing!r}] = None; sys.argv = ['truecaller', '--help']\n"
        "import truecaller_async.cli as cli; cli.main()"
    )
    result = python(program, tmp_path)
    assert result.returncode == 3
    assert 'pip install "truecaller-async[cli]"' in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize("arguments", ["['--help']", "['campaign', 'run', '--help']", "['numbers', 'publish', '-h']"])
def test_help_imports_neither_rich_nor_aiohttp_nor_engine(arguments: str, tmp_path: Path) -> None:
    program = (
        "import sys\nfrom truecaller_async.cli.app import app\n"
        f"try:\n    app({arguments})\n"
        "except SystemExit:\n    pass\n"
        "names = ['client', 'engine', 'sandbox', 'transport', 'resources', 'protocol']\n"
        "heavy = {'rich', 'aiohttp', 'sqlite3', *(f'truecaller_async.{name}' for name in names)} & sys.modules.keys()\n"
        "sys.exit(','.join(sorted(heavy)) or 0)"
    )
    result = python(program, tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
