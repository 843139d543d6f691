"""Tables and JSON: complete, safe for the terminal, and with a note if columns are dropped."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from truecaller_async.cli.output import Column, fitting, plain, print_json, print_table
from truecaller_async.models import Label, NumberJob

NAME, ID, EXTRA = Column("name"), Column("id", optional=True), Column("extra", optional=True)
ROWS = [["a", "x" * 36, "y" * 30], ["bb", "x" * 36, ""]]


@pytest.mark.parametrize(
    ("width", "shown"), [(100, [0, 1, 2]), (74, [0, 1, 2]), (73, [0, 1]), (42, [0, 1]), (41, [0]), (1, [0])]
)
def test_optional_columns_are_dropped_from_the_right(width: int, shown: list[int]) -> None:
    assert fitting([NAME, ID, EXTRA], ROWS, width) == shown


def test_optional_column_without_values_is_hidden() -> None:
    assert fitting([NAME, ID, EXTRA], [["a", "", ""], ["", "", "x"]], 80) == [0, 2]
    assert fitting([NAME, ID], [["", ""]], 80) == [0]


def test_wide_characters_count_as_two() -> None:
    cells = [["銀行" * 10, "x"]]
    assert fitting([NAME, ID], cells, 44) == [0, 1]
    assert fitting([NAME, ID], cells, 43) == [0]


def test_piped_table_is_complete_aligned_and_without_trailing_spaces(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([Column("n", justify="right"), NAME, ID], [(7, "a" * 200, None), (123, None, "z")])
    assert capsys.readouterr().out.splitlines() == [
        f"  n  {'name':200}  id",
        f"  7  {'a' * 200}",
        f"123  {'':200}  z",
    ]


def test_cell_cannot_control_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([NAME], [("a\x1b[2J[bold]b\n",)])
    assert capsys.readouterr().out == "name\na\\x1b[2J[bold]b\\n\n"


def test_library_value_becomes_an_object_with_all_fields() -> None:
    label = Label("id-1", "Bank", created_at=datetime(2025, 7, 10, 6, 59, tzinfo=UTC))
    found = plain(label)
    assert (found["id"], found["name"], found["created_at"]) == ("id-1", "Bank", "2025-07-10T06:59:00+00:00")
    assert plain(NumberJob(new_numbers=("911140001234",)))["new_numbers"] == ["911140001234"]
    assert plain({"a": [label]})["a"][0]["id"] == "id-1"


def test_json_is_one_line_of_ascii_whatever_the_text(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"name": "a\nb é \ud800"})
    out = capsys.readouterr().out
    assert out.isascii()
    assert out.count("\n") == 1
    assert json.loads(out) == {"name": "a\nb é \ud800"}
