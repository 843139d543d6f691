"""Writing results to a file while they come.

Results are written in lists, because every write ends with a flush: as soon as there are many, and from time to time.
A file that cannot be written any more (a full disk) does not cost the account: the fault is kept, the campaign is
drained by whoever looks at it, and what was already known is counted.

The file holds rows that have their final word, and no others, because a later run will tell of those again. Only when
a campaign ran to its end the rest is written too, as it stands. (Where nothing can be resumed, every word is final.)

The file may need work before it can be gone on with, which is done in a thread (`prepare`), so that the campaign need
not wait for it. Meanwhile results are held, and whoever brings them waits when there are too many.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import attrs

from truecaller_async.errors import ConfigError, TruecallerError
from truecaller_async.models import RecordResult
from truecaller_async.sinks import ResultSink

ROOM = 500
HELD_MAX = 100_000


class ResultsWriter:
    """Takes results one by one; without a sink it forgets them. `fault` is set when the file cannot be written.

    `sink` is a sink, or what opens one in `prepare`.
    """

    def __init__(self, sink: ResultSink | Callable[[], ResultSink] | None, name: str | None) -> None:
        self._sink = sink if isinstance(sink, ResultSink) else None
        self._opening = None if isinstance(sink, ResultSink) else sink
        self._name = name
        self._held: list[RecordResult] = []
        self._kept_back: list[RecordResult] = []
        self._prepared: asyncio.Future[None] | None = None
        self.fault: TruecallerError | None = None

    def prepare(self) -> None:
        """Begin to open the file, where that is still to be done."""
        if self._opening is not None:
            self._prepared = asyncio.ensure_future(self._prepare(self._opening))

    async def prepared(self) -> None:
        """The file is open, or will never be."""
        if self._prepared is not None:
            await self._prepared

    @property
    def is_full(self) -> bool:
        """Whether so much is held that its bringer should wait until the file is open."""
        return len(self._held) >= HELD_MAX

    def record(self, result: RecordResult) -> None:
        """One result."""
        if self._forgets:
            return
        if not result.final:
            self._kept_back.append(attrs.evolve(result, record=None))
            return
        self._held.append(result)
        if len(self._held) >= ROOM:
            self.flush()

    def flush(self) -> None:
        """Write what is held, if the file is open."""
        if self._sink is None or not self._held:
            return
        held, self._held = self._held, []
        try:
            self._sink.write(held)
        except OSError as error:
            self._broken(error)

    def close(self, *, is_whole: bool = True) -> None:
        """Write the rest and close the file; rows without a final word only when the campaign ran to its end."""
        if is_whole and not self._forgets:
            self._held += self._kept_back
        self.flush()
        try:
            if self._sink is not None:
                self._sink.close()
        except OSError as error:
            self._broken(error)

    @property
    def _forgets(self) -> bool:
        return self.fault is not None or (self._sink is None and self._opening is None)

    async def _prepare(self, opening: Callable[[], ResultSink]) -> None:
        try:
            self._sink = await asyncio.to_thread(opening)
        except OSError as error:
            self._broken(error)
        except TruecallerError as error:
            self._give_up(error)

    def _broken(self, error: OSError) -> None:
        self._give_up(
            ConfigError(
                f"results cannot be written to {self._name}: {error.strerror or error}; the campaign was stopped, "
                "and the account says how many records were delivered, but the file does not name them all"
            )
        )

    def _give_up(self, error: TruecallerError) -> None:
        self.fault = self.fault or error
        self._held.clear()
        self._kept_back.clear()
