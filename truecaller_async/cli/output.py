"""What goes to stdout: a table for people, JSON for programs.

A table is only as wide as its values need. Into a pipe or a file it is written whole, whatever its width. On a terminal
that is too narrow the columns marked `spare` are left out, the last first, and a note on stderr says which; what still
does not fit is folded, never cut. JSON is one object a line, with times in ISO 8601, and always has everything.
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

GAP = 2
WIDE = 100_000
NARROW_NOTE = "Left out, because the terminal is narrow: {}. --json has everything."


@attrs.frozen
class Column:
    """One column; a `spare` one may be left out on a narrow terminal."""

    name: str
    justify: Literal["left", "right"] = "left"
    spare: bool = False


def print_table(columns: Sequence[Column], rows: Sequence[Sequence[object]]) -> None:
    """Write the rows to stdout. None is an empty cell; texts of strangers are made printable here."""
    from rich.console import Console

    cells = [["" if value is None else printable(str(value)) for value in row] for row in rows]
    console = Console(file=sys.stdout, highlight=False)
    width = console.width if console.is_terminal else WIDE
    shown = fitting(columns, cells, width)
    if console.is_terminal:
        console.print(_table(columns, cells, shown))
    else:
        click.echo(_plain(columns, cells, shown))
    left_out = [column.name for place, column in enumerate(columns) if place not in shown and _has_values(cells, place)]
    if left_out:
        click.echo(NARROW_NOTE.format(", ".join(left_out)), err=True)


def print_json(value: object) -> None:
    """Write one object on one line."""
    click.echo(json.dumps(plain(value)))


def plain(value: object) -> Any:
    """A value of the library as JSON has it."""
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
    """The places of the columns to show: without empty ones, and without as few spare ones as the width allows."""
    shown = [place for place in range(len(columns)) if _has_values(cells, place) or not columns[place].spare]
    needed = {place: _width(columns[place], cells, place) for place in shown}
    for place in reversed(shown.copy()):
        if sum(needed[place] + GAP for place in shown) - GAP <= width:
            break
        if columns[place].spare:
            shown.remove(place)
    return shown


def _has_values(cells: Sequence[Sequence[str]], place: int) -> bool:
    return any(row[place] for row in cells)


def _width(column: Column, cells: Sequence[Sequence[str]], place: int) -> int:
    from rich.cells import cell_len

    return max(cell_len(column.name), *(cell_len(row[place]) for row in cells)) if cells else cell_len(column.name)


def _table(columns: Sequence[Column], cells: Sequence[Sequence[str]], shown: Sequence[int]) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, GAP, 0, 0), pad_edge=False, header_style="bold")
    for place in shown:
        table.add_column(columns[place].name, justify=columns[place].justify, overflow="fold")
    for row in cells:
        table.add_row(*(Text(row[place]) for place in shown))
    return table


def _plain(columns: Sequence[Column], cells: Sequence[Sequence[str]], shown: Sequence[int]) -> str:
    from rich.cells import cell_len

    widths = {place: _width(columns[place], cells, place) for place in shown}

    def line(texts: Sequence[str]) -> str:
        padded = []
        for place in shown:
            space = " " * (widths[place] - cell_len(texts[place]))
            padded.append(space + texts[place] if columns[place].justify == "right" else texts[place] + space)
        return (" " * GAP).join(padded).rstrip()

    return "\n".join([line([column.name for column in columns]), *map(line, cells)])
