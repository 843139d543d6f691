"""The filters of a list: which part of the account, by the id that the console shows. One at a time, says the API."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import attrs
import click

from truecaller_async.cli.param_types import identifier

Command = TypeVar("Command", bound=Callable[..., Any])

FEATURE_SET = ("--feature-set", "feature_set_id", "a feature set")
DEPARTMENT = ("--department", "department_id", "a department")
OPERATION = ("--operation", "operation_id", "an operation")
PROCESS = ("--process", "process_id", "a process or subprocess")
ALL = (FEATURE_SET, DEPARTMENT, OPERATION, PROCESS)


@attrs.frozen
class NumberFilter:
    """The one filter that was given, as an argument of a resource; none means everything."""

    argument: dict[str, Any]

    @classmethod
    def out_of(cls, given: dict[str, Any]) -> NumberFilter:
        """Takes its own values out of the parameters of a command. Two filters are wrong usage."""
        chosen = {flag: (name, value) for flag, name, _ in ALL if (value := given.pop(name, None)) is not None}
        if len(chosen) > 1:
            raise click.UsageError(
                f"{' and '.join(chosen)} cannot be used together: the API takes one filter at a time"
            )
        return cls(dict(chosen.values()))


def filter_options(*filters: tuple[str, str, str]) -> Callable[[Command], Command]:
    """An option for each of these filters."""

    def with_options(command: Command) -> Command:
        for flag, name, what in reversed(filters):
            command = click.option(flag, name, type=identifier, metavar="ID", help=f"Only those of {what}.")(command)
        return command

    return with_options
