"""Where records come from, and where results go.

A source is read as rows: each has its number from 1, its line in the file, and either a record or the problems that
keep the line from being one. One bad line is one bad row, and reading goes on; only where nobody could say where the
next row begins does it end, with a `SourceError` that names the last good row. The values of a row are not judged
here: that is the pre-flight's work.

`RowReader` is the one door for whoever reads: it takes a file reader, or any iterable or async iterable of records,
mappings or rows. A `ThreadSource` wraps an iterable that must not be read on the event loop. `open_sink` is the way
out.

A file can be read from the end of any of its rows, and opened again by another process with the note that it makes of
itself (`FileSource.note`, `reopened`): so a campaign goes on where an earlier run stopped.
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
