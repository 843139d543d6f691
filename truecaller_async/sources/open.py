"""Open a file by its suffix, or reopen a file by its descriptor.

`is_unchanged` compares a file with its descriptor without reading it. False may only mean that the file was copied;
then the rows have to be compared (`campaign.rows.fingerprints`).
"""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

from truecaller_async.errors import ConfigError, SourceError
from truecaller_async.models.journal_entries import SourceDescriptor
from truecaller_async.sources.column_mapping import ColumnDefaults, comma_separated
from truecaller_async.sources.csv_source import CsvSource
from truecaller_async.sources.jsonl_source import JsonlSource
from truecaller_async.sources.text_files import WRONG_SUFFIXES, FileSource, format_suffix

STANDARD_INPUT = "-"
READERS: dict[str, type[CsvSource | JsonlSource]] = {
    ".csv": CsvSource,
    ".jsonl": JsonlSource,
    ".ndjson": JsonlSource,
}
READER_OF_KIND: dict[str, type[CsvSource | JsonlSource]] = {reader.kind: reader for reader in READERS.values()}
VERSION_ADVICE = "Use the version of this library that wrote the descriptor"
MISSING_FILE_ADVICE = "put the same file back, or give its new path as the source"


def open_source(path: str | os.PathLike[str], defaults: ColumnDefaults | None = None) -> FileSource:
    """Return the reader for a file: `.csv`, `.jsonl` or `.ndjson`, each also with `.gz`.

    The file is opened when it is read.

    Args:
        path: The path; "-" is CSV on standard input.
        defaults: Values for columns that the file does not have.

    Returns:
        The source.

    Raises:
        SourceError: The suffix is not supported, or the path is a folder.
    """
    name = os.fspath(path)
    if name == STANDARD_INPUT:
        return CsvSource(sys.stdin.buffer, defaults, {})
    if os.path.isdir(name):  # noqa: PTH112 - a path of any kind, as given
        raise SourceError(f"{name} is a folder; name a file in it, .csv or .jsonl")
    suffix = format_suffix(name)
    if suffix not in READERS:
        problem = WRONG_SUFFIXES.get(suffix, f"the suffix {suffix!r} is not a supported format")
        raise SourceError(f"{name}: {problem}; supported are .csv and .jsonl, each also with .gz")
    return READERS[suffix](path, defaults, {})


def reopen_source(descriptor: SourceDescriptor) -> FileSource:
    """Return the reader for the file of a descriptor, with the same columns and defaults.

    The file is opened when it is read.

    Args:
        descriptor: The result of `FileSource.descriptor`.

    Returns:
        The source.

    Raises:
        SourceError: The file no longer exists (row 0).
        ConfigError: The descriptor has a kind or defaults that this version does not know.
    """
    reader = READER_OF_KIND.get(descriptor.kind)
    if reader is None:
        raise ConfigError(
            f"{descriptor.path} cannot be reopened: its descriptor has the kind {descriptor.kind!r}, and this version "
            f"supports only {comma_separated(READER_OF_KIND)}. {VERSION_ADVICE}"
        )
    try:
        defaults = ColumnDefaults(**descriptor.defaults)
    except TypeError as error:
        raise ConfigError(
            f"{descriptor.path} cannot be reopened: its descriptor has unknown column defaults ({error}). "
            f"{VERSION_ADVICE}"
        ) from error
    _check_exists(Path(descriptor.path))
    return reader(descriptor.path, defaults, descriptor.columns)


def is_unchanged(descriptor: SourceDescriptor) -> bool:
    """Return whether the file still has the size and the modification time (in ns) of its descriptor."""
    try:
        found = Path(descriptor.path).stat()
    except (OSError, ValueError):
        return False
    return stat.S_ISREG(found.st_mode) and (found.st_size, found.st_mtime_ns) == (descriptor.size, descriptor.modified)


def _check_exists(path: Path) -> None:
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        reason = "no longer exists" if isinstance(error, FileNotFoundError) else f"cannot be found: {error}"
        raise SourceError(f"{path}: {reason}; {MISSING_FILE_ADVICE}") from error
    if not stat.S_ISREG(mode):
        raise SourceError(f"{path}: is not a regular file; {MISSING_FILE_ADVICE}")
