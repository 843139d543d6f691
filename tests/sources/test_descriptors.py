"""The descriptor of a file reopens it in another process, and shows whether it was changed."""

from __future__ import annotations

import gzip
import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from truecaller_async.errors import ConfigError, SourceError
from truecaller_async.models.journal_entries import SourceDescriptor
from truecaller_async.sources import (
    ColumnDefaults,
    FileSource,
    is_unchanged,
    open_source,
    read_csv,
    read_jsonl,
    reopen_source,
)

CSV = "caller,Phone,key\n911234567898,919234567898,k\n"
FILL = ColumnDefaults(
    label_id="c6d8", label_name="Zoë", reason="Calling you back", starts_at=1_752_760_800_000, window=3600.5
)


def descriptor_of(source: FileSource) -> SourceDescriptor:
    descriptor = source.descriptor()
    assert descriptor is not None
    return descriptor


def csv_file(folder: Path) -> Path:
    path = folder / "a.csv"
    path.write_text(CSV)
    return path


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.jsonl", "a.jsonl.gz", "a.ndjson"])
def test_file_is_reopened_from_its_descriptor_with_columns_and_fill(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    content = (CSV if "csv" in name else '{"caller": "911234567898", "Phone": "919234567898"}\n').encode()
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    read: Callable[..., FileSource] = read_csv if "csv" in name else read_jsonl
    source = read(path, defaults=FILL, receiver="phone")
    stored = json.loads(json.dumps(structs.asdict(descriptor_of(source))))
    again = reopen_source(SourceDescriptor(**stored))
    assert descriptor_of(again) == descriptor_of(source)
    rows = list(again.rows())
    assert rows == list(source.rows())
    assert rows[0].record is not None
    assert (rows[0].record.receiver, rows[0].record.reason) == ("919234567898", "Calling you back")


def test_descriptor_describes_the_file(tmp_path: Path) -> None:
    path = csv_file(tmp_path)
    os.utime(path, ns=(0, 1_752_760_800_123_456_789))
    assert descriptor_of(read_csv(path, receiver="Phone")) == SourceDescriptor(
        "csv", str(path), {"receiver": "Phone"}, {}, len(CSV), 1_752_760_800_123_456_789
    )


def test_descriptor_path_does_not_depend_on_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    csv_file(tmp_path)
    monkeypatch.chdir(tmp_path)
    descriptor = descriptor_of(open_source("a.csv"))
    monkeypatch.chdir("/")
    assert is_unchanged(descriptor)
    assert reopen_source(descriptor).name == str(tmp_path / "a.csv")


def test_source_that_cannot_be_reopened_has_no_descriptor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = tmp_path / "pipe.csv"
    os.mkfifo(pipe)
    path = csv_file(tmp_path)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(CSV.encode())))
    with path.open() as file, path.open("rb") as binary:
        for origin in (file, binary, io.StringIO(CSV), io.BytesIO(CSV.encode())):
            assert read_csv(origin).descriptor() is None
        for name in (pipe, tmp_path, "/dev/null", "none.csv", "a\0b.csv", f"/dev/fd/{file.fileno()}"):
            assert read_csv(name).descriptor() is None
    assert open_source("-").descriptor() is None


@pytest.mark.parametrize("fill", [ColumnDefaults(reason="\udce9"), ColumnDefaults(starts_at=object())])  # type: ignore[arg-type]
def test_fill_that_is_not_json_has_no_descriptor(tmp_path: Path, fill: ColumnDefaults) -> None:
    assert open_source(csv_file(tmp_path), fill).descriptor() is None


def test_file_in_a_deleted_folder_has_no_descriptor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    removed = tmp_path / "removed"
    removed.mkdir()
    monkeypatch.chdir(removed)
    removed.rmdir()
    assert open_source("a.csv").descriptor() is None


def is_removed(path: Path) -> None:
    path.unlink()


def is_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def is_a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("happens", "words"),
    [(is_removed, "no longer exists"), (is_a_folder, "not a regular file"), (is_a_pipe, "not a regular file")],
)
def test_missing_file_is_a_source_error_with_advice(
    tmp_path: Path, happens: Callable[[Path], None], words: str
) -> None:
    path = csv_file(tmp_path)
    descriptor = descriptor_of(open_source(path))
    happens(path)
    assert not is_unchanged(descriptor)
    with pytest.raises(SourceError, match=words) as caught:
        reopen_source(descriptor)
    assert caught.value.row == 0
    assert "put the same file back" in str(caught.value)
    assert str(path) in str(caught.value)


def test_invalid_path_is_a_source_error() -> None:
    descriptor = SourceDescriptor("csv", "a\0b.csv")
    assert not is_unchanged(descriptor)
    with pytest.raises(SourceError, match="cannot be found"):
        reopen_source(descriptor)


@pytest.mark.parametrize(
    "other",
    [
        {"kind": "parquet"},
        {"kind": ""},
        {"defaults": {"title": "x"}},
        {"defaults": {"window": -1}},
        {"columns": {"phone": "x"}},
    ],
)
def test_unsupported_descriptor_is_a_configuration_error(tmp_path: Path, other: dict[str, Any]) -> None:
    descriptor = descriptor_of(open_source(csv_file(tmp_path)))
    with pytest.raises(ConfigError):
        reopen_source(structs.replace(descriptor, **other))


def test_unknown_kind_is_reported_with_the_known_ones(tmp_path: Path) -> None:
    descriptor = structs.replace(descriptor_of(open_source(csv_file(tmp_path))), kind="parquet")
    with pytest.raises(ConfigError, match="'parquet', and this version supports only csv, jsonl"):
        reopen_source(descriptor)


def test_file_with_another_size_or_time_counts_as_changed(tmp_path: Path) -> None:
    path = csv_file(tmp_path)
    descriptor = descriptor_of(open_source(path))
    assert is_unchanged(descriptor)
    os.utime(path, ns=(0, descriptor.modified + 1))
    assert not is_unchanged(descriptor)
    os.utime(path, ns=(0, descriptor.modified))
    assert is_unchanged(descriptor)
    with path.open("a") as file:
        file.write("\n")
    os.utime(path, ns=(0, descriptor.modified))
    assert not is_unchanged(descriptor)


def test_source_that_is_no_regular_file_counts_as_changed(tmp_path: Path) -> None:
    path = tmp_path / "pipe.csv"
    os.mkfifo(path)
    found = path.stat()
    assert not is_unchanged(SourceDescriptor("csv", str(path), size=found.st_size, modified=found.st_mtime_ns))
