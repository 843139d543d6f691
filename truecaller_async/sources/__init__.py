"""Read the records of a campaign: CSV and JSONL files, iterables, async iterables.

A source is read as rows. A row has a number from 1, a line in the file, and either a record or the problems of the
line. The values of a record are not checked here (see `validation.preflight`).

    open_source, read_csv, read_jsonl    make a `FileSource`
    RowReader                            reads any source, also iterables and async iterables of records
    ThreadSource                         wraps an iterable that must not be read on the event loop
    FileSource.descriptor                describes a file, so that another process can reopen it (`reopen_source`)

Failure modes:
    - A bad line is one bad row, and reading continues.
    - If the start of the next row cannot be determined, reading ends with a `SourceError` that names the last good row.
"""

from truecaller_async.sources.column_mapping import ColumnDefaults
from truecaller_async.sources.csv_source import CsvSource, read_csv
from truecaller_async.sources.jsonl_source import JsonlSource, read_jsonl
from truecaller_async.sources.open import is_unchanged, open_source, reopen_source
from truecaller_async.sources.row_reader import RowReader
from truecaller_async.sources.text_files import FileSource, count_rows
from truecaller_async.sources.thread_source import ThreadSource

__all__ = [
    "ColumnDefaults",
    "CsvSource",
    "FileSource",
    "JsonlSource",
    "RowReader",
    "ThreadSource",
    "count_rows",
    "is_unchanged",
    "open_source",
    "read_csv",
    "read_jsonl",
    "reopen_source",
]
