"""Print the results of the doctor: one line per check as it is done, or one JSON object.

On a terminal the texts are wrapped at 80 columns. In a pipe each check is one line, and its advice another one.
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

TERMINAL_WIDTH = 80
UNLIMITED_WIDTH = 100_000
STATUS_WIDTH, CHECK_WIDTH = 9, 15
COLOURS: Mapping[str, str] = MappingProxyType(
    {"ok": "green", "warn": "yellow", "fail": "red", "skipped": "bright_black"}
)


class DoctorOutput(Protocol):
    """Receives the result of each check, and all results at the end."""

    def add(self, result: CheckResult) -> None:
        """Receive the result of one check.

        Args:
            result: The result.
        """
        ...

    def finish(self, results: Sequence[CheckResult]) -> None:
        """Receive all results.

        Args:
            results: The results, in the order of the checks.
        """
        ...


class TextOutput:
    """Prints lines to stdout."""

    def add(self, result: CheckResult) -> None:
        """Print one check, and its advice on lines of its own."""
        first, *rest = result_lines(result, TERMINAL_WIDTH if sys.stdout.isatty() else UNLIMITED_WIDTH)
        coloured = click.style(first[:STATUS_WIDTH], fg=COLOURS[result.status])
        lines = [coloured + first[STATUS_WIDTH:], *rest]
        click.echo("\n".join(lines), color=False if os.environ.get("NO_COLOR") else None)

    def finish(self, results: Sequence[CheckResult]) -> None:
        """Print how many checks failed."""
        click.echo(f"\n{closing_sentence(results)}")


class JsonOutput:
    """Prints one JSON object to stdout."""

    def add(self, result: CheckResult) -> None:
        """Do nothing; `finish` prints all results."""

    def finish(self, results: Sequence[CheckResult]) -> None:
        """Print the exit code, and each check with its status, message and advice."""
        checks = [plain(result) for result in results]
        for check in checks:
            del check["code"]
        print_json({"exit_code": exit_for(results), "checks": checks})


def result_lines(result: CheckResult, width: int) -> list[str]:
    """Return status, check and message, then the advice, in lines of at most `width` characters."""
    indent = " " * (STATUS_WIDTH + CHECK_WIDTH)
    head = f"{result.status:{STATUS_WIDTH}}{result.check:{CHECK_WIDTH}}"
    return [
        *_wrapped(head, result.message, indent, width),
        *(_wrapped(f"{indent}-> ", result.advice, f"{indent}   ", width) if result.advice else ()),
    ]


def closing_sentence(results: Sequence[CheckResult]) -> str:
    """Return which checks failed, or how many warnings there are."""
    failed = [result.check for result in results if result.status == "fail"]
    warnings = sum(result.status == "warn" for result in results)
    if failed:
        return f"{counted(len(failed), 'check')} failed: {', '.join(failed)}."
    return f"All checks passed, with {counted(warnings, 'warning')}." if warnings else "All checks passed."


def _wrapped(first: str, text: str, indent: str, width: int) -> list[str]:
    return textwrap.wrap(
        printable(text),
        width,
        initial_indent=first,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
