"""A file by its name: the suffix tells the format."""

from __future__ import annotations

import os
import sys

from truecaller_async.errors import SourceError
from truecaller_async.sources.columns import Fill
from truecaller_async.sources.delimited import CsvSource
from truecaller_async.sources.files import WRONG_SUFFIXES, FileSource, format_of
from truecaller_async.sources.jsonl import JsonlSource

STANDARD_INPUT = "-"
READERS: dict[str, type[CsvSource | JsonlSource]] = {
    ".csv": CsvSource,
    ".jsonl": JsonlSource,
    ".ndjson": JsonlSource,
}


def open_source(path: str | os.PathLike[str], fill: Fill | None = None) -> FileSource:
    """The reader for this file: `.csv`, `.jsonl` or `.ndjson`, each also with `.gz`; "-" is CSV on standard input.

    Raises `SourceError` for any other suffix, and says what to do. The file itself is opened when it is read.
    """
    name = os.fspath(path)
    if name == STANDARD_INPUT:
        return CsvSource(sys.stdin.buffer, fill, {})
    if os.path.isdir(name):  # noqa: PTH112 - a path of any kind, as given
        raise SourceError(f"{name} is a folder; name a file in it, .csv or .jsonl")
    suffix = format_of(name)
    if suffix not in READERS:
        verdict = WRONG_SUFFIXES.get(suffix, f"has the suffix {suffix!r}, which names no format that is read here")
        raise SourceError(f"{name}: {verdict}; read are .csv and .jsonl, each also with .gz")
    return READERS[suffix](path, fill, {})
