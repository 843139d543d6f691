"""Generator of docs/faults.md: faults, attacks and bad inputs by number, with their tests.

The numbers, their texts and figures are data: tests/vectors/faults.toml. A test names its numbers with the marker
`@pytest.mark.fault("F47", "F48")`. The markers are read from the syntax trees of the test files; nothing is imported.
"""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import cattrs

from .sources import REPOSITORY

FAULTS = REPOSITORY / "tests" / "vectors" / "faults.toml"
PAGE = REPOSITORY / "docs" / "faults.md"
COMMAND = "python -m " + ".".join(Path(__file__).relative_to(REPOSITORY).with_suffix("").parts)
MARKER = "pytest.mark.fault"
NO_TEST = "no test"

HEAD = f"""\
<!-- Generated from tests/vectors/faults.toml and the tests by `{COMMAND}`. Do not edit. -->

# Faults, attacks and bad inputs

Each number is a fault (F), an attack or a leak (S), or a bad input (B). The figure is what the tests of that
number assert. A test names its numbers with `@pytest.mark.fault(...)`.

*Applied*: the truth log of the sandbox records that the request took effect. *Flagged*: the result has
`possibly_duplicated = True`. Seconds are seconds of the virtual clock, unless the figure says otherwise.
"""


@attrs.frozen(kw_only=True)
class Fault:
    """One number of the catalogue. The fields are described in faults.toml."""

    number: str
    section: str
    title: str
    figure: str | None = None
    decided: str | None = None


@attrs.frozen(order=True)
class Case:
    """A test function: the path of its file from the repository, and its name."""

    path: str
    name: str


def faults(text: str | None = None) -> list[Fault]:
    """Parse faults.toml, in its order. Raises an error for an unknown or missing field."""
    tables: dict[str, dict[str, Any]] = tomllib.loads(FAULTS.read_text("utf-8") if text is None else text)
    converter = cattrs.Converter(forbid_extra_keys=True)
    return [converter.structure({"number": number, **table}, Fault) for number, table in tables.items()]


def marked(text: str) -> Iterator[tuple[str, str]]:
    """Yield number and function name of each marked test function in the text of one file."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            for decorator in node.decorator_list:
                if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == MARKER:
                    yield from ((str(ast.literal_eval(number)), node.name) for number in decorator.args)


def find_test_files(folder: Path) -> list[Path]:
    """Return the test files below a folder, sorted by path."""
    return sorted(folder.rglob("test_*.py"))


def find_test_names(text: str) -> Iterator[str]:
    """Yield the names of the test functions in the text of one file, in its order."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            yield node.name


def covering_tests(folder: Path) -> dict[str, list[Case]]:
    """Return the marked tests below a folder by number."""
    found: dict[str, list[Case]] = {}
    for path in find_test_files(folder):
        for number, name in marked(path.read_text("utf-8")):
            found.setdefault(number, []).append(Case(path.relative_to(REPOSITORY).as_posix(), name))
    return found


def page(catalogue: list[Fault], tests: Mapping[str, list[Case]]) -> str:
    """Render the page: one table for each section, in the order of the catalogue."""
    parts = [HEAD]
    for section in dict.fromkeys(fault.section for fault in catalogue):
        rows = [row(fault, tests.get(fault.number, [])) for fault in catalogue if fault.section == section]
        head = f"## {section}\n\n| number | what goes wrong | figure | tests |\n| --- | --- | --- | --- |\n"
        parts.append(head + "".join(f"{line}\n" for line in rows))
    return "\n".join(parts)


def row(fault: Fault, tests: list[Case]) -> str:
    """Render one row. The tests are grouped by file."""
    by_file: dict[str, list[str]] = {}
    for test in tests:
        by_file.setdefault(test.path, []).append(test.name)
    shown = "<br>".join(f"`{path}`: " + ", ".join(f"`{name}`" for name in names) for path, names in by_file.items())
    cells = (fault.number, fault.title, fault.decided or fault.figure or "", shown or NO_TEST)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(faults(), covering_tests(REPOSITORY / "tests")), "utf-8")
