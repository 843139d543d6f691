"""What a journal tells of the runs before this one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Self

import attrs

from truecaller_async.cli.journals import INPUT, reader_of
from truecaller_async.cli.reasons import KINDS_KEPT, Reasons
from truecaller_async.cli.retelling import Finality, Retelling
from truecaller_async.errors import JournalError
from truecaller_async.models import Begun
from truecaller_async.sources import ResultSink, open_sink
from truecaller_async.sources.results import RowSet, mended

if TYPE_CHECKING:
    from truecaller_async.planning.replay import Standing


@attrs.frozen
class Past:
    """The campaign of a journal as it stood when it was looked at."""

    path: Path
    standing: Standing
    begun: Begun
    reasons: Reasons

    @classmethod
    def of(cls, path: Path) -> Self:
        """Look at a journal. Raises `JournalError`."""
        reasons = Reasons()
        with reader_of(path) as reader:
            standing = reader.standing()
            for outcome, reason, count in reader.reasons(KINDS_KEPT):
                reasons.add(outcome, reason, count)
        if standing.begun is None:
            raise JournalError(f"{path} holds no campaign yet")
        return cls(path, standing, standing.begun, reasons)

    @property
    def notes(self) -> Mapping[str, str]:
        """What the runs before have noted."""
        return self.standing.notes

    @property
    def name(self) -> str:
        """What the input is called in messages."""
        return self.notes.get(INPUT) or self.input_path or "the input"

    @property
    def input_path(self) -> str | None:
        """The file of the input, where it is one."""
        return None if self.begun.source is None else self.begun.source.path

    @property
    def lost_input(self) -> bool:
        """Whether rows were never read, and the journal cannot read them."""
        return self.begun.source is None and not self.standing.ended

    def retelling(self, tell: Callable[[str], None]) -> Retelling:
        """Its results once more."""
        return Retelling(self.path, self.begun.source, tell)

    def reopened_results(self, results: str, *, goes_on: bool, tell: Callable[[str], None]) -> ResultSink:
        """The file of results with every row in it that was final then, ready for more.

        `goes_on` is for the file of the runs before; another one is written anew. Raises `ConfigError`, `JournalError`
        and `OSError`.
        """
        is_final = Finality(self.standing)
        there = mended(Path(results), is_final) if goes_on else RowSet()
        sink = open_sink(results, source=self.input_path, append=goes_on)
        try:
            self.retelling(tell).what_is_missing(sink, there, is_final)
        except BaseException:
            sink.close()
            raise
        return sink
