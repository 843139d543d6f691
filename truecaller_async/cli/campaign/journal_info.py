"""Read from a journal what a later command needs to know about the earlier runs of a campaign."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Self

import attrs
from msgspec import structs

from truecaller_async.cli.campaign.failure_reasons import KINDS_MAX, FailureReasons
from truecaller_async.cli.campaign.journal_files import DEFAULTS_NOTE, INPUT_NOTE, RESULTS_NOTE, reader_of
from truecaller_async.cli.campaign.rebuild_results import FinalRows, ResultRebuilder
from truecaller_async.errors import ConfigError, JournalError
from truecaller_async.models.journal_entries import CampaignStarted
from truecaller_async.sinks import ResultSink, open_sink
from truecaller_async.sinks.result_sink import check_not_input
from truecaller_async.sinks.results_file import RowSet, repair_results_file
from truecaller_async.sources import ColumnDefaults, FileSource, open_source, reopen_source

if TYPE_CHECKING:
    from truecaller_async.campaign.core.campaign_state import CampaignState


def _is_same_file(path: str, other: str | None) -> bool:
    return other is not None and Path(path).resolve() == Path(other).resolve()


@attrs.frozen
class JournalInfo:
    """The campaign of a journal at the moment at which the journal was read."""

    path: Path
    """Path of the journal."""
    state: CampaignState
    """State of the campaign."""
    started: CampaignStarted
    """The first entry of the journal."""
    reasons: FailureReasons
    """Failure reasons of the earlier runs."""
    is_running: bool = False
    """Whether a process works on the campaign."""
    input: FileSource | None = None
    """The input that `with_input` sets; None if the journal names the input."""

    @classmethod
    def of(cls, path: Path) -> Self:
        """Read a journal.

        Raises:
            JournalError: The journal cannot be read or contains no campaign.
        """
        reasons = FailureReasons()
        with reader_of(path) as reader:
            state = reader.state()
            is_running = reader.owner() is not None
            for outcome, reason, count in reader.reasons(KINDS_MAX):
                reasons.add(outcome, reason, count)
        if state.started is None:
            raise JournalError(
                f"{path} contains no campaign: the process ended before it started. Run the campaign again"
            )
        return cls(path, state, state.started, reasons, is_running)

    @property
    def notes(self) -> Mapping[str, str]:
        """Return the notes of the earlier runs."""
        return self.state.notes

    @property
    def name(self) -> str:
        """Return the name of the input in messages."""
        return self.notes.get(INPUT_NOTE) or self.input_path or "the input"

    @property
    def input_path(self) -> str | None:
        """Return the path of the input; None if it is not a file."""
        if self.input is not None:
            return None if self.input.path is None else str(self.input.path)
        return None if self.started.source is None else self.started.source.path

    @property
    def has_unreadable_rows(self) -> bool:
        """Return whether rows were never read, and the journal cannot reopen the input."""
        return self.started.source is None and not self.state.source_exhausted

    def with_input(self, file: str) -> Self:
        """Return a copy whose input is `file`: the moved file, or a copy of standard input.

        Column mapping and defaults are those of the first run.

        Raises:
            SourceError: The file cannot be read.
        """
        if self.started.source is not None:
            source = reopen_source(structs.replace(self.started.source, path=str(Path(file).absolute())))
        else:
            defaults = self.notes.get(DEFAULTS_NOTE)
            source = open_source(file, None if defaults is None else ColumnDefaults(**json.loads(defaults)))
        return attrs.evolve(self, input=source)

    def check_can_write(self, out: str) -> None:
        """Check that a new file would not overwrite the input, the journal, or results of an active run.

        Args:
            out: Path of the new file.

        Raises:
            ConfigError: The new file would overwrite one of them.
        """
        check_not_input(out, self.input_path)
        check_not_input(out, self.path, what="journal")
        if self.is_running and _is_same_file(out, self.notes.get(RESULTS_NOTE)):
            raise ConfigError(f"the campaign is running and writes its results to {out}. Choose another file")

    def rebuilder(self, note: Callable[[str], None]) -> ResultRebuilder:
        """Return a rebuilder of the results; `note` shows its messages."""
        source = self.started.source
        if source is None:
            source = None if self.input is None else self.input.descriptor()
        elif self.input_path is not None:
            # Size and time stay those of the first run, so that a changed file is reported.
            source = structs.replace(source, path=self.input_path)
        return ResultRebuilder(self.path, source, note)

    def open_results(self, path: str, *, append: bool, note: Callable[[str], None]) -> ResultSink:
        """Open a results file that contains every final row, ready for more.

        Args:
            path: The results file.
            append: Repair and continue the file of the earlier runs; otherwise the file is replaced.
            note: Shows a message to the user.

        Raises:
            ConfigError: The file is not a results file, or is the input.
            JournalError: The journal cannot be read.
            OSError: The file cannot be written.
        """
        is_final = FinalRows(self.state)
        present = repair_results_file(Path(path), is_final) if append else RowSet()
        sink = open_sink(path, source=self.input_path, append=append)
        try:
            self.rebuilder(note).write_missing(sink, present, is_final)
        except BaseException:
            sink.close()
            raise
        return sink
