"""A file by its name: the suffix tells the format. And a file that was read before, by the note that was made of it.

Whether it is still the same file, `is_untouched` says without reading it. Its "no" may only mean that somebody copied
the file; then the rows have to be compared (`planning.fingerprints`).
"""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

from truecaller_async.errors import ConfigError, SourceError
from truecaller_async.models import SourceDescriptor
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
    """The reader for this file: `.csv`, `.jsonl` or `.ndjson`, each also with `.gz`; "-" is CSV on standard input.

    Raises `SourceError` for any other suffix, and says what to do. The file itself is opened when it is read.
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
    """The reader for the file of this note, with the same columns and fill.

    Raises `SourceError` with row 0 where there is no such file any more, and `ConfigError` where the note has something
    in it that this version of the library does not know. The file itself is opened when it is read.
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
    """Whether the file of this note has the size and the time of change, to the nanosecond, that were noted."""
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
