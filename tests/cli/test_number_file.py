"""Number files: good, bad and unreadable ones."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from truecaller_async import SourceError
from truecaller_async.cli.number_file import PRINTED_LINES, NumberFile, read_numbers

FIRST, SECOND = "911140001234", "911140001235"


def read(folder: Path, content: str | bytes, name: str = "numbers.txt") -> NumberFile:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_numbers(str(path))


@pytest.mark.parametrize(
    "content",
    [
        f"{FIRST}\n{SECOND}\n",
        f"{FIRST}\r\n\r\n  {SECOND}",
        f"\ufeff+{FIRST}\n+91 (11) 4000-1235\n",
        f"phone_number\n{FIRST}\n{SECOND}\n",
        f"Name, Number \nA,{FIRST}\n\nB,+{SECOND}\n",
        f'"name";"phone_number"\n"A;B";{FIRST}\nC;{SECOND}\n',
        f"number\tname\n{FIRST}\ta\n{SECOND}\tb\n",
        f"\n\nphone_number,number\n{FIRST},1\n{SECOND},2\n",
    ],
)
def test_lines_and_columns_are_read_as_digits(content: str, tmp_path: Path) -> None:
    found = read(tmp_path, content)
    assert (found.numbers, found.repeated, found.refusal) == ((FIRST, SECOND), 0, None)


def test_compressed_file_is_decompressed(tmp_path: Path) -> None:
    assert read(tmp_path, gzip.compress(f"{FIRST}\n".encode()), "numbers.txt.gz").numbers == (FIRST,)


def test_repeated_number_is_counted_and_kept_once(tmp_path: Path) -> None:
    found = read(tmp_path, f"{SECOND}\n{FIRST}\n+{SECOND}\n{SECOND}\n")
    assert (found.numbers, found.repeated) == ((SECOND, FIRST), 2)


def test_every_bad_line_is_reported_with_position_and_masked(tmp_path: Path) -> None:
    refusal = read(tmp_path, f"{FIRST}\n\n9811223\u0664455\n12\n").refusal or ""
    first, second, result, hint = refusal.splitlines()
    assert "numbers.txt:3: " in first
    assert "98112" not in refusal
    assert "numbers.txt:4: '**' has 2 digits" in second
    assert result.endswith("has 2 bad lines; nothing was sent.")
    assert "names no column" in hint


def test_csv_row_is_reported_by_its_last_line(tmp_path: Path) -> None:
    found = read(tmp_path, f'note,number\n"a\nb",{FIRST}\n"c",\nd\n"e\nf",12\n')
    assert found.numbers == (FIRST,)
    places = [fault.removeprefix(str(tmp_path)).split(":")[1] for fault in found.bad_lines]
    assert places == ["4", "5", "7"]
    assert "names no column" not in (found.refusal or "")


@pytest.mark.parametrize(
    "row", [f'{FIRST},"a', f'{FIRST},"a" b', f'{FIRST},"a\n{SECOND},"b"', f'{FIRST},"' + "a\n" * 99_999]
)
def test_quote_that_would_swallow_rows_is_refused(row: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="a quote is misplaced or not closed") as caught:
        read(tmp_path, f"number,name\n{row}\n{SECOND},c\n")
    assert FIRST not in str(caught.value)


def test_only_the_first_bad_lines_are_listed_and_the_others_counted(tmp_path: Path) -> None:
    lines = (read(tmp_path, "12\n" * (PRINTED_LINES + 3)).refusal or "").splitlines()
    assert lines[PRINTED_LINES] == "... and 3 more bad lines"
    assert f"{PRINTED_LINES + 3} bad lines" in lines[PRINTED_LINES + 1]


@pytest.mark.parametrize("content", ["", "\n \n", "phone_number\n", "\ufeff"])
def test_file_without_numbers_is_refused(content: str, tmp_path: Path) -> None:
    assert (read(tmp_path, content).refusal or "").endswith("contains no numbers; nothing was sent.")


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"PK\x03\x04", "zip archive"), (b"\xff\xfe9\x001\x00", "UTF-16"), (b"\x1f\x8b\x08", "gzip"), (b"a\0b", "NUL")],
)
def test_binary_file_is_recognised(content: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=message):
        read(tmp_path, content)


def test_missing_file_folder_and_broken_file_are_refused_with_a_message(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no such file"):
        read_numbers(str(tmp_path / "none.txt"))
    with pytest.raises(SourceError, match="folder"):
        read_numbers(str(tmp_path))
    with pytest.raises(SourceError, match="cannot be read"):
        read(tmp_path, gzip.compress(f"{FIRST}\n".encode())[:-9], "cut.txt.gz")


@given(content=st.binary(max_size=300) | st.text('",\n1number', max_size=99).map(str.encode))
@example(content=b'number\n"1')
def test_arbitrary_bytes_are_read_completely_or_refused(
    content: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    try:
        found = read(tmp_path_factory.getbasetemp(), content)
    except SourceError:
        return
    assert found.refusal is None or found.refusal.count("Error: ") == 1
    assert all(number.isdigit() and 7 <= len(number) <= 15 for number in found.numbers)
