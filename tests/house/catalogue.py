"""The table of faults in tests/README.md: what it must say, and what the tests say.

The names of the tests are the truth. A test of a fault begins with its number, or with several
(`test_f47_f48_...`), and stands in the row of each. So the column of tests is written by this module out of the tree;
what a fault is and which figure its tests demand is written by hand and kept:

    python -m tests.house.catalogue     brings the table up to date

A number that has no test says so: `not shown` in the column of tests, and the reason where the figure would stand.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

import attrs

from tests.house.sources import REPOSITORY

TABLE = REPOSITORY / "tests" / "README.md"
DEMANDED = (
    *(f"F{number:02}" for number in range(1, 64)),
    *(f"S{number:02}" for number in range(1, 20)),
    *(f"S{number:02}" for number in range(33, 41)),
)
"""The numbers that have a row whatever the tests say."""

NOT_SHOWN = "not shown"
BREAK = "<br>"
NUMBERS = re.compile(r"test_((?:[bfs]\d\d_)+)")
ROW = re.compile(r"^\| ([FS]\d\d) \| (.*?) \| (.*?) \| (.*?) \|$")


@attrs.frozen
class Row:
    """One number: what goes wrong, the tests that show what happens then (`path::function`), and their figure."""

    number: str
    fault: str
    tests: tuple[str, ...]
    figure: str

    @classmethod
    def of(cls, line: str) -> Row | None:
        """The row that this line is; None for any other line."""
        found = ROW.match(line)
        if found is None:
            return None
        number, fault, figure, shown = (cell.strip() for cell in found.groups())
        named = [name.strip("`") for name in shown.split(BREAK)] if shown not in ("", NOT_SHOWN) else []
        return cls(number, fault, tuple(named), figure)

    def __str__(self) -> str:
        shown = BREAK.join(f"`{name}`" for name in self.tests) or NOT_SHOWN
        return f"| {self.number} | {self.fault} | {self.figure} | {shown} |"


def rows_of(text: str) -> list[Row]:
    """The rows of a text, in its order."""
    return [row for line in text.splitlines() if (row := Row.of(line)) is not None]


def numbers_of(function: str) -> list[str]:
    """The numbers with which the name of a test begins: `test_f07_f09_it` has F07 and F09. Bad input (B) has no row."""
    found = NUMBERS.match(function)
    return [number for number in found[1].upper().split("_") if number[:1] in ("F", "S")] if found else []


def functions_of(text: str) -> Iterator[str]:
    """The names of the tests in the text of one file, in its order."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            yield node.name


def numbered(folder: Path) -> dict[str, list[str]]:
    """The tests below a folder by number, each as `path::function` from the repository."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for path in sorted(folder.rglob("test_*.py")):
        for function in functions_of(path.read_text("utf-8")):
            for number in numbers_of(function):
                found[number].append(f"{path.relative_to(REPOSITORY).as_posix()}::{function}")
    return dict(found)


def rewritten(text: str, tests: Mapping[str, list[str]]) -> str:
    """The same text with the tests of today in its rows. A number that has no row yet gets one behind the last."""
    lines = text.splitlines()
    table = [place for place, line in enumerate(lines) if Row.of(line) is not None]
    known = {row.number: row for row in rows_of(text)}
    new = [Row(number, "", (), "") for number in sorted({*DEMANDED, *tests} - known.keys())]
    for place in table:
        row = Row.of(lines[place])
        assert row is not None
        lines[place] = str(attrs.evolve(row, tests=tuple(tests.get(row.number, ()))))
    end = table[-1] + 1 if table else len(lines)
    added = [str(attrs.evolve(row, tests=tuple(tests.get(row.number, ())))) for row in new]
    return "\n".join([*lines[:end], *added, *lines[end:], ""])


if __name__ == "__main__":
    TABLE.write_text(rewritten(TABLE.read_text("utf-8"), numbered(REPOSITORY / "tests")), "utf-8")
