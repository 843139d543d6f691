"""Read every kind of source through one class.

Algorithm:
    - A file or a plain iterable is read without awaiting, up to the requested number of rows, because a switch to
      another task costs more than a record. A `ThreadSource` is read in its thread. An async iterable gives one row per
      call, as soon as it has one.
    - `read_rows` is the fast form: `Rows` holds one list of records and no object per row. `read` gives a `Row` for
      each, with its line and its end in the file. Both read from one position, so they can be mixed.
Invariants:
    - Rows are numbered by position from 1, whatever number they have. Only a file can be read from a later position;
      its rows have the numbers that they have in the whole file.
Failure modes:
    - An exception of the source becomes a `SourceError` that names the last row. It is raised after the rows before it
      were returned.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

import attrs

from truecaller_async.errors import ConfigError, SourceError
from truecaller_async.models import CallRecord, Problem, Row, Rows
from truecaller_async.models.journal_entries import SourcePosition
from truecaller_async.sources.column_mapping import MappingShapes
from truecaller_async.sources.text_files import FileSource, RowBlocks
from truecaller_async.sources.thread_source import ThreadSource

ONLY_RECORDS = frozenset({CallRecord})


class RowReader:
    """Reads a source once, from its beginning or, for a file, from a position.

    Not for use by two tasks at once. A cancelled read of an async iterable ends that iterable, so run the read in its
    own task and do not cancel it.

    Args:
        source: A `FileSource`, a `ThreadSource`, or an iterable or async iterable of `CallRecord`, `Row` or mappings
            with the column names as keys.
        after: Read the rows after this position. Requires a file with a path.

    Raises:
        ConfigError: The source has another type, or cannot be read from a position.
    """

    def __init__(self, source: object, after: SourcePosition | None = None) -> None:
        self._rows: Iterator[Any] | None = None
        self._blocks: RowBlocks | None = None
        self._async_items: AsyncIterator[Any] | None = None
        self._thread_source: ThreadSource | None = None
        if isinstance(source, FileSource):
            self._rows = source.rows(after)
            self._blocks = source.blocks(after)
        elif isinstance(source, ThreadSource):
            self._thread_source = source
        elif isinstance(source, str | bytes | Mapping | CallRecord | Row):
            raise ConfigError(_invalid_source(source))
        elif isinstance(source, AsyncIterable):
            self._async_items = aiter(source)
        elif isinstance(source, Iterable):
            self._rows = iter(source)
        else:
            raise ConfigError(_invalid_source(source))
        self._is_file = isinstance(source, FileSource)
        if after is not None and not self._is_file:
            raise ConfigError(
                f"a source of type {type(source).__name__} cannot be read from row {after.row + 1}: only a file can. "
                "Give read_csv(path) or read_jsonl(path)"
            )
        self._shapes = MappingShapes()
        self._number = 0 if after is None else after.row
        self._failure: SourceError | None = None
        self._ended = False
        self._prefetched: list[Any] = []

    async def prefetch(self) -> None:
        """Read the first row of a file, so that an unreadable file raises `SourceError` now.

        Does nothing for other sources, because reading them early may block or have side effects.
        """
        if self._is_file:
            self._prefetched = await self._next_items(1)

    async def read_rows(self, limit: int) -> Rows:
        """Return the next 1 to `limit` rows without an object for each; none at the end. Raise `SourceError`."""
        block = self._read_block(limit)
        if block is not None:
            return block
        items = await self._next_items(limit)
        first = self._number - len(items) + 1
        if ONLY_RECORDS.issuperset(map(type, items)):
            return Rows(first, items)
        return Rows.of(self._rows_of(items, first), first)

    async def read(self, limit: int) -> list[Row]:
        """Return the next 1 to `limit` rows; an empty list at the end. Raise `SourceError`."""
        items = await self._next_items(limit)
        return self._rows_of(items, self._number - len(items) + 1)

    def _read_block(self, limit: int) -> Rows | None:
        """Return the next rows of a file as a block. None if they must be read one by one."""
        if self._blocks is None or self._prefetched or self._ended or self._failure is not None:
            return None
        rows = self._blocks.read_block(limit)
        self._number += 0 if rows is None else len(rows)
        return rows

    async def _next_items(self, limit: int) -> list[Any]:
        """Return the next items of the source. Items before a failure are returned first, then it is raised."""
        if self._prefetched:
            items, self._prefetched = self._prefetched, []
            return items
        if self._failure is not None:
            raise self._failure
        items = []
        try:
            if self._ended:
                return items
            if self._rows is not None:
                items.extend(islice(self._rows, limit) if self._blocks is None else self._blocks.rows(limit))
            elif self._thread_source is not None:
                items.extend(await self._thread_source.read(limit))
            elif self._async_items is not None:
                items.append(await anext(self._async_items))
        except StopAsyncIteration:
            self._ended = True
        except Exception as error:  # every exception of the source becomes a `SourceError`
            self._number += len(items)
            self._failure = self._source_error(error)
            self._failure.__cause__ = error
            if not items:
                raise self._failure from error
            return items
        self._number += len(items)
        self._ended = self._ended or not items
        return items

    async def aclose(self) -> None:
        """Close the source: a file, a generator or a thread. May be called twice. Raise `SourceError`."""
        blocks, rows, async_items, thread_source = self._blocks, self._rows, self._async_items, self._thread_source
        self._blocks = self._rows = self._async_items = self._thread_source = None
        self._ended = True
        try:
            if blocks is not None:
                blocks.close()
            if rows is not None and hasattr(rows, "close"):
                rows.close()
            if async_items is not None and hasattr(async_items, "aclose"):
                await async_items.aclose()
            if thread_source is not None:
                await thread_source.aclose()
        except Exception as error:
            raise self._source_error(error) from error

    def _source_error(self, error: Exception) -> SourceError:
        if isinstance(error, SourceError):
            return error
        message = f"the source raised {type(error).__name__} after row {self._number}"
        return SourceError(f"{message}; its exception is the cause of this error", row=self._number)

    def _rows_of(self, items: list[Any], first: int) -> list[Row]:
        return items if self._is_file else [self._row(number, item) for number, item in enumerate(items, first)]

    def _row(self, number: int, item: object) -> Row:
        if isinstance(item, CallRecord):
            return Row(number, None, item)
        if isinstance(item, Row):
            return item if item.number == number else attrs.evolve(item, number=number)
        if isinstance(item, Mapping):
            record = self._shapes.record(item)
            return Row(number, None, None, (record,)) if isinstance(record, Problem) else Row(number, None, record)
        hint = "give a CallRecord, or a mapping with the column names as keys"
        return Row(number, None, None, (Problem("row", "row.type", f"is of type {type(item).__name__}", hint=hint),))


def _invalid_source(source: object) -> str:
    kind = type(source).__name__
    if isinstance(source, str):
        return "the source is a str; to read a file, give read_csv(path) or read_jsonl(path)"
    if isinstance(source, Mapping | CallRecord | Row):
        return f"the source is one {kind}; give a list of them, or another iterable"
    return f"the source is of type {kind}; give read_csv(path), or an iterable of CallRecord or mappings"
