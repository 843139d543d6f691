"""Check that docs/faults.md is current, and that each number has a test or a reason."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Callable

import cattrs
import pytest

from .catalogue import (
    COMMAND,
    FAULTS,
    MARKER,
    NO_TEST,
    PAGE,
    Case,
    Fault,
    covering_tests,
    faults,
    find_test_files,
    find_test_names,
    marked,
    page,
    row,
)
from .sources import REPOSITORY

HINT = f"update the page with `{COMMAND}`"
NAME_MAX_CHARACTERS = 70
NUMBERED = re.compile(r"test_[bfs]\d\d_")
GOOD = '[F01]\nsection = "Time"\ntitle = "a fault"\n'


@pytest.fixture(scope="module")
def catalogue() -> list[Fault]:
    return faults()


@pytest.fixture(scope="module")
def tests() -> dict[str, list[Case]]:
    return covering_tests(REPOSITORY / "tests")


def test_page_is_current(catalogue: list[Fault], tests: dict[str, list[Case]]) -> None:
    assert PAGE.read_text("utf-8") == page(catalogue, tests), HINT


def test_each_marker_names_a_known_number(catalogue: list[Fault], tests: dict[str, list[Case]]) -> None:
    assert tests.keys() - {fault.number for fault in catalogue} == set(), f"add the number to {FAULTS.name}"


def test_each_number_has_a_figure_and_tests_or_a_reason(catalogue: list[Fault], tests: dict[str, list[Case]]) -> None:
    def is_complete(fault: Fault) -> bool:
        if fault.number in tests:
            return bool(fault.figure) and fault.decided is None
        return bool(fault.decided) and fault.figure is None

    assert [fault.number for fault in catalogue if not is_complete(fault)] == []
    assert [fault.number for fault in catalogue if not fault.title or not fault.section] == []


def test_numbers_are_complete_and_ordered(catalogue: list[Fault]) -> None:
    assert all(re.fullmatch(r"[FSB]\d\d", fault.number) for fault in catalogue)
    for kind in "FSB":
        numbers = [int(fault.number[1:]) for fault in catalogue if fault.number.startswith(kind)]
        assert numbers == list(range(1, len(numbers) + 1))


def test_no_figure_mentions_an_expected_failure_that_is_gone(
    catalogue: list[Fault], tests: dict[str, list[Case]]
) -> None:
    def expects_one(number: str) -> bool:
        return any("xfail" in (REPOSITORY / test.path).read_text("utf-8") for test in tests.get(number, []))

    figures = {fault.number: (fault.figure or "").lower() for fault in catalogue}
    assert [number for number, text in figures.items() if "expected failure" in text and not expects_one(number)] == []


def test_markers_are_decorators_of_tests_with_literal_numbers() -> None:
    """Reject markers in other places, such as `pytestmark`: they would not be collected."""
    for path in find_test_files(REPOSITORY / "tests"):
        text = path.read_text("utf-8")
        calls = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Attribute)]
        used = sum(ast.unparse(node) == MARKER for node in calls)
        assert used == len({name for _, name in marked(text)}), path.name


@pytest.mark.parametrize(
    "is_bad",
    [
        pytest.param(lambda name, _: len(name) > NAME_MAX_CHARACTERS, id="too long"),
        pytest.param(lambda _, count: count > 1, id="repeated in its file"),
        pytest.param(lambda name, _: NUMBERED.match(name), id="with a number"),
    ],
)
def test_no_name_breaks_a_rule(is_bad: Callable[[str, int], object]) -> None:
    bad = {
        path.name: [
            name for name, count in Counter(find_test_names(path.read_text("utf-8"))).items() if is_bad(name, count)
        ]
        for path in find_test_files(REPOSITORY / "tests")
    }
    assert {path: names for path, names in bad.items() if names} == {}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('@pytest.mark.fault("F01")\ndef test_a(): ...\n', [("F01", "test_a")]),
        ('@pytest.mark.fault("F02", "S03")\nasync def test_a(): ...\n', [("F02", "test_a"), ("S03", "test_a")]),
        ('@each\n@pytest.mark.fault("F01")\n@other\ndef test_a(): ...\n', [("F01", "test_a")]),
        ('class TestC:\n    @pytest.mark.fault("B04")\n    def test_a(self): ...\n', [("B04", "test_a")]),
        ('@pytest.mark.fault("F05")\ndef helper(): ...\n', []),
        ("@pytest.mark.timeout(1)\ndef test_a(): ...\n", []),
    ],
)
def test_markers_are_collected_from_test_functions(text: str, found: list[tuple[str, str]]) -> None:
    assert list(marked(text)) == found


def test_names_are_collected_at_any_level() -> None:
    text = "def test_a(): ...\nasync def test_b(): ...\nclass TestC:\n    def test_d(self): ...\ndef help(): ...\n"
    assert sorted(find_test_names(text)) == ["test_a", "test_b", "test_d"]


@pytest.mark.parametrize("bad", [f'{GOOD}figures = "0"\n', '[F01]\ntitle = "a fault"\n'], ids=["unknown", "missing"])
def test_fault_with_an_unknown_or_missing_field_is_refused(bad: str) -> None:
    assert faults(GOOD) == [Fault(number="F01", section="Time", title="a fault")]
    with pytest.raises(cattrs.ClassValidationError):
        faults(bad)


def test_page_has_a_table_for_each_section_and_groups_tests_by_file() -> None:
    catalogue = [
        Fault(number="F01", section="Time", title="a | b", figure="<= 1 s"),
        Fault(number="F02", section="Space", title="none", decided="Not assigned."),
        Fault(number="F03", section="Time", title="c", figure="0"),
    ]
    tests = {
        "F01": [Case("tests/x.py", "test_a"), Case("tests/x.py", "test_b"), Case("tests/y.py", "test_c")],
        "F03": [Case("tests/y.py", "test_c")],
    }
    text = page(catalogue, tests)
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == ["Time", "Space"]
    assert "| F01 | a \\| b | <= 1 s | `tests/x.py`: `test_a`, `test_b`<br>`tests/y.py`: `test_c` |\n| F03 |" in text
    assert row(catalogue[1], []) == f"| F02 | none | Not assigned. | {NO_TEST} |"
