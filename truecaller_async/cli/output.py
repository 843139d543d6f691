"""Print to stdout: tables for people, JSON for programs.

A table is as wide as its values. In a pipe or a file it is complete, whatever its width. On a terminal that is too
narrow, optional columns are dropped from the right, and a note on stderr names them; what still does not fit is folded
and never cut. JSON is one object per line, complete, with times in ISO 8601.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

import attrs
import click

from truecaller_async.cli.formatting import printable

GAP_WIDTH = 2
UNLIMITED_WIDTH = 100_000
NARROW_NOTE = "Columns not shown, because the terminal is narrow: {}. Use --json to get all of them."


@attrs.frozen
class Column:
    """One column of a table."""

    name: str
    """Header of the column."""
    justify: Literal["left", "right"] = "left"
    """Alignment of the cells."""
    optional: bool = False
    """The column may be dropped on a narrow terminal, and is hidden if all its cells are empty."""


def print_table(columns: Sequence[Column], rows: Sequence[Sequence[object]]) -> None:
    """Print rows to stdout.

    Args:
        columns: The columns.
        rows: Cells of each row; None is an empty cell. Control characters are escaped.
    """
    from rich.console import Console  # rich is slow to import; --help and JSON output do not need it

    cells = [["" if value is None else printable(str(value)) for value in row] for row in rows]
    console = Console(file=sys.stdout, highlight=False)
    width = console.width if console.is_terminal else UNLIMITED_WIDTH
    shown = fitting(columns, cells, width)
    if console.is_terminal:
        console.print(_table(columns, cells, shown))
    else:
        click.echo(_plain_table(columns, cells, shown))
    dropped = [column.name for index, column in enumerate(columns) if index not in shown and _has_values(cells, index)]
    if dropped:
        click.echo(NARROW_NOTE.format(", ".join(dropped)), err=True)


def print_json(value: object) -> None:
    """Print a value to stdout as one line of JSON."""
    click.echo(json.dumps(plain(value)))


def plain(value: object) -> Any:
    """Convert a value of the library to plain JSON types."""
    if attrs.has(type(value)):
        return {field.name: plain(getattr(value, field.name)) for field in attrs.fields(type(value))}  # type: ignore[arg-type]
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def fitting(columns: Sequence[Column], cells: Sequence[Sequence[str]], width: int) -> list[int]:
    """Return the indexes of the columns to show in `width` characters; required columns are always shown."""
    shown = [index for index in range(len(columns)) if _has_values(cells, index) or not columns[index].optional]
    needed = {index: _width(columns[index], cells, index) for index in shown}
    for index in reversed(shown.copy()):
        if sum(needed[each] + GAP_WIDTH for each in shown) - GAP_WIDTH <= width:
            break
        if columns[index].optional:
            shown.remove(index)
    return shown


def _has_values(cells: Sequence[Sequence[str]], index: int) -> bool:
    return any(row[index] for row in cells)


def _width(column: Column, cells: Sequence[Sequence[str]], index: int) -> int:
    from rich.cells import cell_len

    return max(cell_len(column.name), *(cell_len(row[index]) for row in cells)) if cells else cell_len(column.name)


def _table(columns: Sequence[Column], cells: Sequence[Sequence[str]], shown: Sequence[int]) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, GAP_WIDTH, 0, 0), pad_edge=False, header_style="bold")
    for index in shown:
        table.add_column(columns[index].name, justify=columns[index].justify, overflow="fold")
    for row in cells:
        table.add_row(*(Text(row[index]) for index in shown))
    return table


def _plain_table(columns: Sequence[Column], cells: Sequence[Sequence[str]], shown: Sequence[int]) -> str:
    from rich.cells import cell_len

    widths = {index: _width(columns[index], cells, index) for index in shown}

    def line(texts: Sequence[str]) -> str:
        padded = []
        for index in shown:
            space = " " * (widths[index] - cell_len(texts[index]))
            padded.append(space + texts[index] if columns[index].justify == "right" else texts[index] + space)
        return (" " * GAP_WIDTH).join(padded).rstrip()

    return "\n".join([line([column.name for column in columns]), *map(line, cells)])
