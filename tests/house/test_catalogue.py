"""The table of faults in tests/README.md says what the tests say, number by number."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.house.catalogue import DEMANDED, TABLE, Row, functions_of, numbered, numbers_of, rewritten, rows_of
from tests.house.sources import REPOSITORY

HINT = "bring the table up to date with `python -m tests.house.catalogue`"


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return rows_of(TABLE.read_text("utf-8"))


@pytest.fixture(scope="module")
def tests() -> dict[str, list[str]]:
    return numbered(REPOSITORY / "tests")


def test_every_number_has_one_row_with_a_fault_and_a_figure(rows: list[Row]) -> None:
    assert set(DEMANDED) - {row.number for row in rows} == set(), HINT
    assert [number for number, count in Counter(row.number for row in rows).items() if count > 1] == []
    assert [row.number for row in rows if not row.fault or not row.figure] == []


def test_every_row_names_the_tests_whose_names_begin_with_its_number_and_no_others(
    rows: list[Row], tests: dict[str, list[str]]
) -> None:
    named = {row.number: set(row.tests) for row in rows if row.tests}
    assert named == {number: set(found) for number, found in tests.items()}, HINT


def test_what_no_test_shows_says_why(rows: list[Row]) -> None:
    assert [row.number for row in rows if not row.tests and not row.figure.startswith("because ")] == []


def test_no_figure_speaks_of_an_expected_failure_that_is_gone(rows: list[Row]) -> None:
    def expects_one(row: Row) -> bool:
        files = {test.partition("::")[0] for test in row.tests}
        return any("xfail" in (REPOSITORY / file).read_text("utf-8") for file in files)

    assert [row.number for row in rows if "expected failure" in row.figure.lower() and not expects_one(row)] == []


def test_the_command_has_nothing_to_change(tests: dict[str, list[str]]) -> None:
    text = TABLE.read_text("utf-8")
    assert rewritten(text, tests) == text, HINT


@pytest.mark.parametrize(
    ("function", "numbers"),
    [
        ("test_f07_thirty_restarts", ["F07"]),
        ("test_f47_f48_a_kill", ["F47", "F48"]),
        ("test_s05_f09_mixed", ["S05", "F09"]),
        ("test_b31_s38_a_bomb", ["S38"]),
        ("test_b31_an_input", []),
        ("test_of_f07", []),
        ("test_f7_short", []),
        ("test_f070_long", []),
        ("test_f07", []),
    ],
)
def test_the_numbers_of_a_test_are_those_with_which_its_name_begins(function: str, numbers: list[str]) -> None:
    assert numbers_of(function) == numbers


def test_functions_are_found_wherever_they_stand() -> None:
    text = "def test_a(): ...\nasync def test_b(): ...\nclass TestC:\n    def test_d(self): ...\ndef help(): ...\n"
    assert sorted(functions_of(text)) == ["test_a", "test_b", "test_d"]


def test_a_row_reads_what_it_writes() -> None:
    shown = Row("F01", "a fault", ("tests/x.py::test_f01_a", "tests/y.py::test_f01_b"), "<= 1")
    untested = Row("S17", "a fault", (), "because it is so")
    empty = Row("F02", "", (), "")
    assert [Row.of(str(row)) for row in (shown, untested, empty)] == [shown, untested, empty]
    assert Row.of("| number | fault | tests | figure |") is None


def test_the_command_writes_the_tests_and_keeps_what_was_written_by_hand() -> None:
    text = "before\n\n| F01 | a fault | 5 of 5 | `old` |\n| F02 | another | 0 | `gone` |\n\nafter\n"
    new = rewritten(text, {"F01": ["tests/x.py::test_f01_a"], "S99": ["tests/y.py::test_s99_b"]})
    first, second, *rest = rows_of(new)
    assert first == Row("F01", "a fault", ("tests/x.py::test_f01_a",), "5 of 5")
    assert second == Row("F02", "another", (), "0")
    assert {row.number for row in rest} == {*DEMANDED, "S99"} - {"F01", "F02"}
    assert new.startswith("before\n\n| F01")
    assert new.endswith("|\n\nafter\n")
    assert rewritten(new, {"F01": ["tests/x.py::test_f01_a"], "S99": ["tests/y.py::test_s99_b"]}) == new
