"""The one door to every kind of source: `take` gives the next rows together, `read` each by itself.

Together, because a hand-over costs more than a record: a file, or a plain iterable, is read without awaiting, up to as
many rows as are asked for; one that shall not be read on the loop comes as a `ThreadSource`. A foreign async iterable
gives one row at a time, as soon as it has one.

Rows are numbered here, by position from 1, whatever number they bring. What the source raises becomes a `SourceError`
that names the last row, after the rows before it were given out.

Only a file can be read from a place within. Its rows bring the numbers that they have in the whole file.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

import attrs

from truecaller_async.errors import ConfigError, SourceError
from truecaller_async.models import CallRecord, Problem, Row, Rows, SourcePosition
from truecaller_async.sources.column_mapping import MappingShapes
from truecaller_async.sources.text_files import FileSource, RowBlocks
from truecaller_async.sources.thread_source import ThreadSource

ONLY_RECORDS = frozenset({CallRecord})


class RowReader:
    """Reads a source once, from its beginning, or a file from behind the place `after`.

    `source` is a reader (`read_csv`, `read_jsonl`), or an iterable or async iterable of `CallRecord`, mappings with
    the column names as keys, or `Row`. Anything else is a `ConfigError`, and so is `after` where the source is not a
    file with a path. Not for use by two tasks at a time; a read of
    an async iterable that is cancelled ends that iterable, so wait for it in a task of its own.
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
            raise ConfigError(f"a source of type {type(source).__name__} cannot be read from row {after.row + 1} on")
        self._shapes = MappingShapes()
        self._number = 0 if after is None else after.row
        self._failure: SourceError | None = None
        self._ended = False
        self._prefetched: list[Any] = []

    async def prefetch(self) -> None:
        """Read the first row of a file ahead, so that one that cannot be read says so now. Raises `SourceError`.

        Any other source may have its reasons to wait, and is left alone.
        """
        if self._is_file:
            self._prefetched = await self._next_items(1)

    async def read_rows(self, limit: int) -> Rows:
        """The next 1 to `limit` rows; none at the end. Raises `SourceError`."""
        block = self._read_block(limit)
        if block is not None:
            return block
        items = await self._next_items(limit)
        first = self._number - len(items) + 1
        if ONLY_RECORDS.issuperset(map(type, items)):
            return Rows(first, items)
        return Rows.of(self._rows_of(items, first), first)

    async def read(self, limit: int) -> list[Row]:
        """The next 1 to `limit` rows; an empty list at the end. Raises `SourceError`."""
        items = await self._next_items(limit)
        return self._rows_of(items, self._number - len(items) + 1)

    def _read_block(self, limit: int) -> Rows | None:
        """The next rows of a file, where nothing in them is odd and nothing else comes first."""
        if self._blocks is None or self._prefetched or self._ended or self._failure is not None:
            return None
        rows = self._blocks.read_block(limit)
        self._number += 0 if rows is None else len(rows)
        return rows

    async def _next_items(self, limit: int) -> list[Any]:
        """What the source gives next. What was read before a failure is given first, and the failure after it."""
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
        except Exception as error:  # whatever the source raises is told as a fault of the source
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
        """Close the source: a file is closed, a generator is ended. May be called twice. Raises `SourceError`."""
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
        return SourceError(f"{message}; its own error is the cause of this one", row=self._number)

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
