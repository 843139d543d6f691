"""Write results to a file while a campaign runs.

Algorithm:
    Results are buffered, because each write flushes the file. They are written 500 at a time, and at each `flush`.
    An existing file may need repair before more can be appended. `prepare` does that in a thread, and up to 100,000
    results are buffered meanwhile.
Invariants:
    - While the campaign runs, the file contains final results only: a later run returns the other rows again.
    - If the campaign ran to its end, `close` also writes the rows without a final outcome.
Failure modes:
    - If the file cannot be written (a full disk), `error` is set and later results are dropped. The caller drains the
      campaign, and the summary stays complete.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import attrs

from truecaller_async.errors import ConfigError, TruecallerError
from truecaller_async.models import RecordResult
from truecaller_async.sinks import ResultSink

WRITE_ROWS = 500
BUFFER_MAX_ROWS = 100_000


class ResultsWriter:
    """Buffers results and writes them to a sink; without a sink it drops them.

    Args:
        sink: A sink, or a function that opens one; `prepare` calls it in a thread. None writes nothing.
        name: Name of the file in messages.
    """

    error: TruecallerError | None
    """Set as soon as the file cannot be opened or written."""

    def __init__(self, sink: ResultSink | Callable[[], ResultSink] | None, name: str | None) -> None:
        self._sink = sink if isinstance(sink, ResultSink) else None
        self._open_sink = None if isinstance(sink, ResultSink) else sink
        self._name = name
        self._buffer: list[RecordResult] = []
        self._not_final: list[RecordResult] = []
        self._prepared: asyncio.Future[None] | None = None
        self.error = None

    def prepare(self) -> None:
        """Start to open the file in a thread, unless it is open."""
        if self._open_sink is not None:
            self._prepared = asyncio.ensure_future(self._prepare(self._open_sink))

    async def prepared(self) -> None:
        """Wait until the file is open, or `error` is set."""
        if self._prepared is not None:
            await self._prepared

    @property
    def is_full(self) -> bool:
        """Return whether the caller must wait for `prepared` before it records more results."""
        return len(self._buffer) >= BUFFER_MAX_ROWS

    def record(self, result: RecordResult) -> None:
        """Buffer one result, and write the buffer if it has 500 results."""
        if self._drops_results:
            return
        if not result.final:
            self._not_final.append(attrs.evolve(result, record=None))
            return
        self._buffer.append(result)
        if len(self._buffer) >= WRITE_ROWS:
            self.flush()

    def flush(self) -> None:
        """Write the buffered results if the file is open."""
        if self._sink is None or not self._buffer:
            return
        results, self._buffer = self._buffer, []
        try:
            self._sink.write(results)
        except OSError as error:
            self._write_failed(error)

    def close(self, *, is_complete: bool = True) -> None:
        """Write the buffered results and close the file.

        Args:
            is_complete: The campaign ran to its end, so rows without a final outcome are written too.
        """
        if is_complete and not self._drops_results:
            self._buffer += self._not_final
        self.flush()
        try:
            if self._sink is not None:
                self._sink.close()
        except OSError as error:
            self._write_failed(error)

    @property
    def _drops_results(self) -> bool:
        return self.error is not None or (self._sink is None and self._open_sink is None)

    async def _prepare(self, open_sink: Callable[[], ResultSink]) -> None:
        try:
            self._sink = await asyncio.to_thread(open_sink)
        except OSError as error:
            self._write_failed(error)
        except TruecallerError as error:
            self._fail(error)

    def _write_failed(self, error: OSError) -> None:
        self._fail(
            ConfigError(
                f"results cannot be written to {self._name}: {error.strerror or error}. The campaign was stopped. "
                "The summary counts all records, but the file does not contain all of them."
            )
        )

    def _fail(self, error: TruecallerError) -> None:
        self.error = self.error or error
        self._buffer.clear()
        self._not_final.clear()
