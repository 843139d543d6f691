"""How the doctor speaks: a line for each check as it is known, for people; one object at the end, for programs.

On a terminal the texts are folded at 80 columns. Into a pipe each check is one line, and its advice another.
"""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Protocol

import click

from truecaller_async.cli.doctor.checks import CheckResult, exit_for
from truecaller_async.cli.formatting import counted, printable
from truecaller_async.cli.output import plain, print_json

WIDTH = 80
WIDE = 100_000
STATE_WIDTH, CHECK_WIDTH = 9, 15
COLOURS: Mapping[str, str] = MappingProxyType(
    {"ok": "green", "warn": "yellow", "fail": "red", "skipped": "bright_black"}
)


class DoctorOutput(Protocol):
    """Told of each verdict, and of all at the end."""

    def add(self, verdict: CheckResult) -> None:
        """One check is done."""
        ...

    def finish(self, verdicts: Sequence[CheckResult]) -> None:
        """All are."""
        ...


class TextOutput:
    """Lines on stdout."""

    def add(self, verdict: CheckResult) -> None:
        """The check, and what to do in lines of its own."""
        state, *rest = lines_of(verdict, WIDTH if sys.stdout.isatty() else WIDE)
        word, said = state[:STATE_WIDTH], state[STATE_WIDTH:]
        coloured = click.style(word, fg=COLOURS[verdict.state])
        click.echo("\n".join([coloured + said, *rest]), color=False if os.environ.get("NO_COLOR") else None)

    def finish(self, verdicts: Sequence[CheckResult]) -> None:
        """The whole in one sentence."""
        click.echo(f"\n{closing(verdicts)}")


class JsonOutput:
    """One JSON object on stdout."""

    def add(self, verdict: CheckResult) -> None:
        """Kept for the end."""

    def finish(self, verdicts: Sequence[CheckResult]) -> None:
        """The exit code, and each check with its state, what was said and what to do."""
        checks = [plain(verdict) for verdict in verdicts]
        for check in checks:
            del check["code"]
        print_json({"code": exit_for(verdicts), "checks": checks})


def lines_of(verdict: CheckResult, width: int) -> list[str]:
    """The verdict in lines of at most that width: state, check, what was found; then the advice."""
    indent = " " * (STATE_WIDTH + CHECK_WIDTH)
    head = f"{verdict.state:{STATE_WIDTH}}{verdict.check:{CHECK_WIDTH}}"
    return [
        *_folded(head, verdict.said, indent, width),
        *(_folded(f"{indent}-> ", verdict.advice, f"{indent}   ", width) if verdict.advice else ()),
    ]


def closing(verdicts: Sequence[CheckResult]) -> str:
    """How it is, on the whole."""
    failed = [verdict.check for verdict in verdicts if verdict.state == "fail"]
    warned = sum(verdict.state == "warn" for verdict in verdicts)
    if failed:
        return f"{counted(len(failed), 'check')} failed: {', '.join(failed)}."
    return f"All checks passed, with {counted(warned, 'warning')}." if warned else "All checks passed."


def _folded(first: str, text: str, indent: str, width: int) -> list[str]:
    return textwrap.wrap(
        printable(text),
        width,
        initial_indent=first,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
