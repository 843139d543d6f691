"""What a journal tells of the runs before this one."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Self

import attrs

from truecaller_async.cli.campaign.failure_reasons import KINDS_KEPT, FailureReasons
from truecaller_async.cli.campaign.journal_files import FILL, INPUT, RESULTS, reader_of
from truecaller_async.cli.campaign.rebuild_results import FinalRows, ResultRebuilder
from truecaller_async.errors import ConfigError, JournalError
from truecaller_async.models import CampaignStarted
from truecaller_async.sinks import ResultSink, open_sink
from truecaller_async.sinks.result_sink import check_not_input
from truecaller_async.sinks.results_file import RowSet, repair_results_file
from truecaller_async.sources import ColumnDefaults, FileSource, open_source, reopen_source

if TYPE_CHECKING:
    from truecaller_async.planning.campaign_state import CampaignState


def out_is(out: str, remembered: str | None) -> bool:
    """Whether that is the file of results of the runs before."""
    return remembered is not None and Path(out).resolve() == Path(remembered).resolve()


@attrs.frozen
class JournalInfo:
    """The campaign of a journal as it stood when it was looked at."""

    path: Path
    state: CampaignState
    begun: CampaignStarted
    reasons: FailureReasons
    is_running: bool = False
    input: FileSource | None = None
    """Given by `moved`; None is the input that the journal names."""

    @classmethod
    def of(cls, path: Path) -> Self:
        """Look at a journal. Raises `JournalError`."""
        reasons = FailureReasons()
        with reader_of(path) as reader:
            state = reader.state()
            is_running = reader.owner() is not None
            for outcome, reason, count in reader.reasons(KINDS_KEPT):
                reasons.add(outcome, reason, count)
        if state.started is None:
            raise JournalError(f"{path} holds no campaign yet")
        return cls(path, state, state.started, reasons, is_running)

    @property
    def notes(self) -> Mapping[str, str]:
        """What the runs before have noted."""
        return self.state.notes

    @property
    def name(self) -> str:
        """What the input is called in messages."""
        return self.notes.get(INPUT) or self.input_path or "the input"

    @property
    def input_path(self) -> str | None:
        """The file of the input, where it is one."""
        if self.input is not None:
            return None if self.input.path is None else str(self.input.path)
        return None if self.begun.source is None else self.begun.source.path

    @property
    def lost_input(self) -> bool:
        """Whether rows were never read, and the journal cannot read them."""
        return self.begun.source is None and not self.state.source_exhausted

    def moved(self, file: str) -> Self:
        """The same with its input in that file: where it was moved, or a copy of what came from standard input.

        Columns and fill are those of the first run. Raises `SourceError`.
        """
        if self.begun.source is not None:
            source = reopen_source(attrs.evolve(self.begun.source, path=str(Path(file).absolute())))
        else:
            fill = self.notes.get(FILL)
            source = open_source(file, None if fill is None else ColumnDefaults(**json.loads(fill)))
        return attrs.evolve(self, input=source)

    def check_free(self, out: str) -> None:
        """Raises `ConfigError` where a new file of that name would destroy what is still needed.

        That is the input, the journal, and the results of a run that goes on: it would write to a file without a name.
        """
        check_not_input(out, self.input_path)
        check_not_input(out, self.path, what="journal")
        if self.is_running and out_is(out, self.notes.get(RESULTS)):
            raise ConfigError(f"the campaign is running and writes its results to {out}; choose another file")

    def retelling(self, tell: Callable[[str], None]) -> ResultRebuilder:
        """Its results once more."""
        source = self.begun.source
        if source is None:
            source = None if self.input is None else self.input.descriptor()
        elif self.input_path is not None:
            source = attrs.evolve(source, path=self.input_path)  # its size and time as noted: a changed file is told
        return ResultRebuilder(self.path, source, tell)

    def reopened_results(self, results: str, *, goes_on: bool, tell: Callable[[str], None]) -> ResultSink:
        """The file of results with every row in it that was final then, ready for more.

        `goes_on` is for the file of the runs before; another one is written anew. Raises `ConfigError`, `JournalError`
        and `OSError`.
        """
        is_final = FinalRows(self.state)
        there = repair_results_file(Path(results), is_final) if goes_on else RowSet()
        sink = open_sink(results, source=self.input_path, append=goes_on)
        try:
            self.retelling(tell).what_is_missing(sink, there, is_final)
        except BaseException:
            sink.close()
            raise
        return sink
