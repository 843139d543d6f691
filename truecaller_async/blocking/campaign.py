"""The results of a campaign, for programs that do not use asyncio."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Self

from truecaller_async.blocking.loop_thread import LoopThread, LoopThreadRegistry
from truecaller_async.errors import ConfigError
from truecaller_async.models import Progress, RecordResult, Summary

if TYPE_CHECKING:  # only a campaign loads the engine
    from truecaller_async.campaign.stream import CampaignStream


class Campaign:
    """The results of a campaign, one for each record read, in the order in which they become known.

    Enter its `with` block, then iterate it for the results. Leaving the block aborts the campaign as the async
    `CampaignStream` does: requests in flight are awaited, never cancelled. One campaign is for one thread at a time.

    The iteration raises an error of the whole campaign after the last result. After `close()` of the client every
    method raises `ClientClosed`. `summary` and `progress` stay readable if the block was left before.
    """

    def __init__(self, registry: LoopThreadRegistry, stream: CampaignStream) -> None:
        self._registry = registry
        self._stream = stream
        self._loop_thread: LoopThread | None = None
        self._results: deque[RecordResult] = deque()
        self._final: tuple[Summary, Progress] | None = None

    def __enter__(self) -> Self:
        self._loop_thread = loop_thread = self._registry.current()
        # Before the start: if Ctrl-C interrupts it, the shutdown of the thread still aborts the campaign.
        loop_thread.track(self._stream)
        loop_thread.run(self._stream.__aenter__)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        loop_thread = self._started()
        # In a forked child the campaign is the parent's: leaving the block there must not touch it.
        if loop_thread.in_this_process:
            self._final = loop_thread.run(self._finish)
            loop_thread.untrack(self._stream)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> RecordResult:
        while not self._results:
            # The second check: a fetch that Ctrl-C interrupted may add its results while this one reports the end.
            if not self._started().run(self._fetch) and not self._results:
                raise StopIteration
        return self._results.popleft()

    def drain(self) -> None:
        """Stop reading and sending; finish the requests in flight and poll for at most 30 seconds more.

        The remaining results are still delivered.

        Raises:
            ConfigError: The block was not entered.
        """
        self._started().run(self._stream.drain)

    def abort(self) -> None:
        """Stop reading, sending and polling; wait for the requests in flight.

        Every record then has its result, and the iteration delivers those that remain.

        Raises:
            ConfigError: The block was not entered.
        """
        self._started().run(self._stream.abort)

    def note(self, name: str, value: str) -> None:
        """Store a note of the caller in the journal; `notes` returns it after a resume.

        Args:
            name: The key of the note. A later note with this key replaces it.
            value: The text.

        Raises:
            JournalError: The journal cannot be written.
            ConfigError: The block was not entered.
        """
        self._started().run(partial(self._stream.note, name, value))

    @property
    def notes(self) -> Mapping[str, str]:
        """The notes of the caller, of all runs. Raises `ConfigError` before the block is entered."""
        self._started()
        return self._stream.notes

    def __repr__(self) -> str:
        return repr(self._stream).replace("CampaignStream", "blocking.Campaign")

    @property
    def summary(self) -> Summary:
        """The counts so far; final after the iteration. Raises `ConfigError` before the block is entered."""
        return (self._final or self._started().run(self._read_totals))[0]

    @property
    def progress(self) -> Progress:
        """The progress at this moment. Raises `ConfigError` before the block is entered."""
        return (self._final or self._started().run(self._read_totals))[1]

    async def _fetch(self) -> bool:
        # Runs on the loop. The results go into the deque and are not returned: if Ctrl-C interrupts the wait after the
        # stream has handed them over, a returned list would be lost.
        results = await self._stream.next_results()
        self._results.extend(results)
        return bool(results)

    async def _finish(self) -> tuple[Summary, Progress]:
        await self._stream.abort()
        return await self._read_totals()

    async def _read_totals(self) -> tuple[Summary, Progress]:
        return self._stream.summary, self._stream.progress

    def _started(self) -> LoopThread:
        if self._loop_thread is None:
            raise ConfigError(
                "the campaign has not started: a campaign starts with its block. "
                "Write 'with client.push_many(...) as results:'."
            )
        return self._loop_thread
