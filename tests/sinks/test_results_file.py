"""Results files that a crash left: cut at any byte, repaired and completed, each has every row once."""

from __future__ import annotations

import csv
import gzip
import io
import json
import random
import tracemalloc
from collections.abc import Callable, Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from truecaller_async.errors import ConfigError
from truecaller_async.models import Outcome, RecordResult
from truecaller_async.sinks import open_sink
from truecaller_async.sinks.result_sink import atomic_replacement
from truecaller_async.sinks.results_file import RowSet, repair_results_file

NAMES = ["out.csv", "out.jsonl", "out.csv.gz", "out.jsonl.gz"]
UNUSUAL_KEYS = [
    "plain",
    "",
    'a "quoted" word',
    "two\nlines",
    "one\r",
    '"',
    '""\n""',
    "\0",
    "\ud800",
    "=1+1",
    "é,ü",
    "\n\n",
]


def always_final(_: int) -> bool:
    return True


def result(row: int, key: str | None = None) -> RecordResult:
    return RecordResult(None, row, key, Outcome.DELIVERED, reason=key, batch_id="b", record_id=f"r-{row}", attempts=1)


def write_results(path: Path, lists: Iterable[Iterable[RecordResult]], *, append: bool = False) -> bytes:
    with open_sink(path, append=append) as sink:
        for results in lists:
            sink.write(results)
    return path.read_bytes()


def lines_in(path: Path) -> list[dict[str, str]]:
    data = path.read_bytes()
    text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode()
    if ".csv" in path.name:
        lines = list(csv.DictReader(io.StringIO(text, newline=""), strict=True))
        assert all(None not in line and None not in line.values() for line in lines)
        return lines
    *lines_of_json, rest = text.split("\n")
    assert rest == ""
    return [json.loads(line) for line in lines_of_json]


def rows_in(path: Path) -> list[int]:
    return [int(line["row"]) for line in lines_in(path)]


@pytest.mark.parametrize("name", NAMES)
@given(
    keys=st.lists(st.sampled_from(UNUSUAL_KEYS) | st.text(max_size=8), max_size=12),
    runs=st.integers(1, 3),
    share=st.floats(0, 1),
)
@example(keys=UNUSUAL_KEYS, runs=2, share=0.5)
def test_file_cut_at_any_byte_is_repaired_and_completed(name: str, keys: list[str], runs: int, share: float) -> None:
    results = [result(row, key) for row, key in enumerate(keys, 1)]
    with TemporaryDirectory() as folder:
        path = Path(folder) / name
        for run in range(runs):
            write_results(path, [[one] for one in results[run::runs]], append=True)
        whole = path.read_bytes()
        path.write_bytes(whole[: round(share * len(whole))])
        there = repair_results_file(path, always_final)
        assert sorted(rows_in(path)) == [one.row for one in results if one.row in there]
        write_results(path, [[one for one in results if one.row not in there]], append=True)
        assert sorted(rows_in(path)) == [one.row for one in results]
        assert len(repair_results_file(path, always_final)) == len(results)


@pytest.mark.parametrize("name", NAMES)
def test_no_complete_row_before_the_cut_is_lost(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    whole = write_results(path, [[result(row, random.Random(row).choice(UNUSUAL_KEYS))] for row in range(1, 40)])
    marks = []
    path.unlink()
    with open_sink(path) as sink:
        for row in range(1, 40):
            sink.write([result(row, random.Random(row).choice(UNUSUAL_KEYS))])
            marks.append(path.stat().st_size)
    for row, size in enumerate(marks, 1):
        path.write_bytes(whole[:size])
        assert len(repair_results_file(path, always_final)) == row


@pytest.mark.parametrize("name", NAMES)
def test_complete_file_is_unchanged(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    before = write_results(path, [[result(row)] for row in range(1, 100)])
    facts = path.stat()
    there = repair_results_file(path, always_final)
    assert len(there) == 99
    assert 99 in there
    assert 100 not in there
    assert path.read_bytes() == before
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (facts.st_ino, facts.st_mtime_ns)


@pytest.mark.parametrize("name", NAMES)
def test_reopened_rows_are_removed_and_the_rest_is_byte_identical(tmp_path: Path, name: str) -> None:
    path, other = tmp_path / name, tmp_path / f"other-{name}"
    write_results(path, [[result(row, random.Random(row).choice(UNUSUAL_KEYS)) for row in range(1, 30)]])
    path.chmod(0o600)
    there = repair_results_file(path, lambda row: row % 3 > 0)
    assert [row for row in range(1, 30) if row in there] == [row for row in range(1, 30) if row % 3]
    write_results(other, [[result(row, random.Random(row).choice(UNUSUAL_KEYS)) for row in range(1, 30) if row % 3]])
    assert lines_in(path) == lines_in(other)
    assert path.stat().st_mode & 0o777 == 0o600
    assert [file.name for file in tmp_path.iterdir() if file.name.startswith(".")] == []


@pytest.mark.parametrize("name", ["out.csv", "out.jsonl"])
def test_repeated_row_and_invalid_line_are_removed(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    write_results(path, [[result(1), result(2), result(1)]])
    with path.open("a") as file:
        file.write("what is this\n")
    write_results(path, [[result(3)]], append=True)
    assert len(repair_results_file(path, always_final)) == 3
    assert rows_in(path) == [1, 2, 3]


@pytest.mark.parametrize("name", NAMES)
def test_zeros_left_by_a_power_failure_are_cut_off(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    for before in (write_results(path, [[result(1), result(2)]]), b""):
        path.write_bytes(before + bytes(5000))
        assert len(repair_results_file(path, always_final)) == (2 if before else 0)
        write_results(path, [[result(3)]], append=True)
        assert rows_in(path) == ([1, 2, 3] if before else [3])


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("out.csv", b"caller,receiver\n1,2\n"),
        ("out.csv", b"no line end"),
        ("out.jsonl", b'{"caller": "x"}\n'),
        ("out.jsonl", b"[]"),
        ("out.csv.gz", gzip.compress(b"caller,receiver\n1,2\n", mtime=0)),
        ("out.csv.gz", gzip.compress(b"x" * 10_000_000, mtime=0)),
    ],
)
def test_foreign_file_is_refused_and_unchanged(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"does not start like a results file.*--results"):
        repair_results_file(path, always_final)
    assert path.read_bytes() == content


def test_missing_file_and_non_file_have_no_rows(tmp_path: Path) -> None:
    assert len(repair_results_file(tmp_path / "none.csv", always_final)) == 0
    (tmp_path / "null.csv").symlink_to("/dev/null")
    assert len(repair_results_file(tmp_path / "null.csv", always_final)) == 0
    with pytest.raises(ConfigError, match=r"Use \.csv"):
        repair_results_file(tmp_path / "out.xlsx", always_final)


def test_link_stays_a_link(tmp_path: Path) -> None:
    real, link = tmp_path / "real.csv", tmp_path / "link.csv"
    write_results(real, [[result(1), result(2)]])
    link.symlink_to(real)
    repair_results_file(link, lambda row: row == 2)
    assert link.is_symlink()
    assert rows_in(real) == [2]


def test_file_replaces_another_only_once_complete(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    path.write_text("old")

    def fail(write: Callable[[Path], object]) -> None:
        with atomic_replacement(path) as new:
            write(new)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail(lambda new: new.write_text("half"))
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("out.csv", "old")]
    with atomic_replacement(path) as new:
        new.write_text("new")
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("out.csv", "new")]


@given(st.lists(st.integers(0, 5000)))
def test_set_of_rows_is_a_set(rows: list[int]) -> None:
    kept = RowSet()
    assert [kept.add(row) for row in rows] == [row not in rows[:place] for place, row in enumerate(rows)]
    assert len(kept) == len(set(rows))
    assert [row for row in range(5001) if row in kept] == sorted(set(rows))


def test_ten_million_rows_are_kept_in_less_than_three_megabytes() -> None:
    tracemalloc.start()
    try:
        kept = RowSet(range(1, 10_000_000, 8))
        assert 9_999_993 in kept
        assert tracemalloc.get_traced_memory()[0] < 3_000_000
    finally:
        tracemalloc.stop()
