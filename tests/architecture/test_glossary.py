"""The glossary is short, sorted and names code that exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from .sources import PACKAGE, REPOSITORY

TERMS_MAX = 45
IDENTIFIER = re.compile(r"`([A-Za-z_][\w.]*)`")


def rows_of(text: str) -> list[tuple[str, str, str]]:
    """Return term, meaning and code of each row of the table."""
    cells = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    return [(row[0], row[1], row[2]) for row in cells if len(row) == 3 and row[0] not in ("term", "---")]


ROWS = rows_of((REPOSITORY / "docs/glossary.md").read_text("utf-8"))


def unknown_identifiers(code: str, words: set[str]) -> list[str]:
    """Return the identifiers of a cell whose last part is no word of the package."""
    return [name for name in IDENTIFIER.findall(code) if name.rpartition(".")[2] not in words]


@pytest.fixture(scope="module")
def package_words() -> set[str]:
    files: list[Path] = sorted((REPOSITORY / PACKAGE).rglob("*.py"))
    return set(re.findall(r"\w+", "\n".join(path.read_text("utf-8") for path in files)))


def test_glossary_has_at_most_45_terms_in_alphabetical_order() -> None:
    terms = [term.casefold() for term, _, _ in ROWS]
    assert 30 <= len(terms) <= TERMS_MAX
    assert terms == sorted(terms)


def test_each_meaning_is_one_sentence() -> None:
    long = [term for term, meaning, _ in ROWS if not meaning.endswith(".") or ". " in meaning]
    assert long == []


def test_each_identifier_exists_in_the_package(package_words: set[str]) -> None:
    assert [(term, name) for term, _, code in ROWS for name in unknown_identifiers(code, package_words)] == []


def test_unknown_identifier_is_found() -> None:
    assert unknown_identifiers("`Known.member`, `Unknown`", {"member"}) == ["Unknown"]


def test_rows_are_read_without_head_and_rule() -> None:
    assert rows_of("| term | meaning | in code |\n| --- | --- | --- |\n| a | b. | `c` |\n") == [("a", "b.", "`c`")]
