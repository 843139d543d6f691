"""Status and report of a campaign, read from its journal, as values for text, JSON and HTML output.

`CampaignStatus` is cheap to read and can be read while the campaign runs. `CampaignReport` also reads every row that is
not simply delivered.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import attrs
from msgspec import structs

from truecaller_async.campaign.core.batch import CampaignBatch
from truecaller_async.campaign.core.batch_state import BatchState as BatchState
from truecaller_async.campaign.core.campaign_state import CampaignState, add_costs
from truecaller_async.cli.campaign import journal_files
from truecaller_async.cli.campaign.failure_reasons import KINDS_MAX, kind_of
from truecaller_async.cli.formatting import local_time, masked
from truecaller_async.errors import JournalError
from truecaller_async.models import Outcome, RunCost
from truecaller_async.sources import count_rows

if TYPE_CHECKING:
    from truecaller_async.journal.reader import JournaledAttempt, JournalReader, RowOutcome

StateName: TypeAlias = Literal["running", "stopped", "undecided", "finished", "purged"]

RANGES_MAX = 1000
OPEN_KINDS = {
    BatchState.PLANNED: "planned",
    BatchState.STOPPED: "planned",
    BatchState.REJECTED: "planned",
    BatchState.IN_FLIGHT: "in_flight",
    BatchState.ACCEPTED: "pending",
}
"""How the rows of an open batch are counted, by the state of the batch; in any other state they are `unknown`."""


@attrs.frozen(kw_only=True)
class CampaignStatus:
    """Status of a campaign."""

    journal: str
    """Path of the journal."""
    input: str
    """Name of the input."""
    results: str | None
    """Path of the results file; None if there is none."""
    state: StateName
    """What the campaign is doing, or how it ended."""
    pid: int | None
    """Process that works on the campaign; 0 if its id is unknown, None if there is none."""
    started_at: datetime
    """Start of the first run."""
    last_run_at: datetime
    """Start of the latest run."""
    last_write_at: datetime
    """Latest write to the journal."""
    read: int
    """Rows read from the input."""
    total: int | None
    """Rows of the input; an estimate until all are read, None if unknown."""
    source_exhausted: bool
    """The input was read to its end."""
    final: Mapping[str, int]
    """Rows with a final outcome, by outcome."""
    open: Mapping[str, int]
    """Rows without a final outcome: planned, in_flight, pending (accepted), unknown (the answer was lost)."""
    batches: int
    """Accepted batches."""
    possibly_duplicated: int
    """Rows that were sent again after an ambiguous attempt."""
    runs: int
    """Number of runs."""
    next: str
    """The next command."""

    @property
    def is_running(self) -> bool:
        """Return whether a process works on the campaign."""
        return self.pid is not None


@attrs.frozen
class AmbiguousAttempt:
    """An attempt whose answer was lost. Long numbers are masked in its texts."""

    batch: int
    """Number of the batch."""
    first_row: int
    """First row of the batch."""
    rows: int
    """Number of rows of the batch."""
    sent_at: datetime
    """When it was sent."""
    token_id: str
    """The token that was used."""
    cause: str
    """Why there is no answer."""
    action: str
    """Whether the batch was sent again, and if not, why."""
    resent_at: datetime | None = None
    """When the batch was sent again; None if it was not."""


@attrs.frozen
class ReasonCount:
    """Number of rows with the same outcome and kind of reason."""

    outcome: str
    """Outcome of the rows."""
    reason: str
    """Reason, without the values of single rows."""
    rows: int
    """Number of rows."""


@attrs.frozen
class UndecidedBatch:
    """A batch whose answer was lost, and for which the operator can record a decision."""

    batch: int
    """Number of the batch."""
    first_row: int
    """First row of the batch."""
    rows: int
    """Number of rows of the batch."""
    cause: str
    """Why there is no answer."""
    command: str
    """The command that records the decision."""


@attrs.frozen(kw_only=True)
class CampaignReport:
    """Report on a campaign."""

    status: CampaignStatus
    """Status of the campaign."""
    account: str
    """Id of the Truecaller account."""
    api_version: str
    """Version of the API."""
    library_version: str
    """Version of this package that started the campaign."""
    on_ambiguous: str
    """Policy for ambiguous attempts."""
    outcomes: Mapping[str, int]
    """Rows read, by present outcome."""
    reasons: Sequence[ReasonCount]
    """Failure reasons, the most frequent first."""
    cost: RunCost
    """Cost of all runs."""
    latest_run: RunCost
    """Cost of the latest run."""
    possibly_duplicated_rows: Sequence[tuple[int, int]]
    """Rows that were sent again after an ambiguous attempt, as (first, last); at most 1,000 ranges."""
    ambiguous_attempts: Sequence[AmbiguousAttempt]
    """Attempts whose answer was lost."""
    undecided_batches: Sequence[UndecidedBatch]
    """Batches that need a decision."""


def status_of(path: Path) -> CampaignStatus:
    """Read the status of a campaign.

    Raises:
        JournalError: The journal cannot be read or contains no campaign.
    """
    with journal_files.reader_of(path) as reader:
        return _status(path, reader, reader.state())


def report_on(path: Path) -> CampaignReport:
    """Read the report of a campaign.

    Raises:
        JournalError: The journal cannot be read or contains no campaign.
    """
    with journal_files.reader_of(path) as reader:
        state = reader.state()
        status = _status(path, reader, state)
        started = state.started
        assert started is not None  # noqa: S101 - `_status` raises if the journal has no campaign
        return CampaignReport(
            status=status,
            account=started.account,
            api_version=started.api_version,
            library_version=started.library,
            on_ambiguous=str(started.options["on_ambiguous"]),
            outcomes={outcome: state.outcome_counts()[outcome] for outcome in Outcome},
            reasons=_reasons(reader),
            cost=_total_cost(state),
            latest_run=RunCost(**structs.asdict(state.run.cost)),
            **_ambiguity(path, reader, status),
        )


def undecided_batches(path: Path) -> list[UndecidedBatch]:
    """Return the batches that need a decision.

    Raises:
        JournalError: The journal cannot be read.
    """
    with journal_files.reader_of(path) as reader:
        return _undecided(path, reader)


def _status(path: Path, reader: JournalReader, state: CampaignState) -> CampaignStatus:
    started = state.started
    if started is None:
        raise JournalError(f"{path} contains no campaign yet")
    pid = reader.owner()
    name = _state_name(pid, state, is_purged=reader.purged())
    last_run = state.last_run
    source = started.source
    return CampaignStatus(
        journal=str(path),
        input=state.notes.get(journal_files.INPUT_NOTE) or ("the input" if source is None else source.path),
        results=state.notes.get(journal_files.RESULTS_NOTE),
        state=name,
        pid=pid,
        started_at=_utc(started.at),
        last_run_at=_utc(started.at if last_run is None else last_run.at),
        last_write_at=_last_write_at(path),
        read=state.position.row,
        total=_total_rows(state),
        source_exhausted=state.source_exhausted,
        final={outcome: state.outcomes[outcome] for outcome in Outcome},
        open=_open_rows(state.open, is_running=pid is not None),
        batches=state.accepted,
        possibly_duplicated=state.possibly_duplicated
        + sum(batch.open_count for batch in state.open if batch.possibly_duplicated),
        runs=state.runs,
        next=_next_command(name, path, state),
    )


def _total_rows(state: CampaignState) -> int | None:
    if state.source_exhausted:
        return state.position.row
    source = None if state.started is None else state.started.source
    return None if source is None else count_rows(source.path)


def _state_name(pid: int | None, state: CampaignState, *, is_purged: bool) -> StateName:
    if is_purged:
        return "purged"
    if pid is not None:
        return "running"
    if state.complete:
        return "finished"
    only_abandoned = all(batch.state is BatchState.ABANDONED for batch in state.open)
    return "undecided" if state.source_exhausted and only_abandoned else "stopped"


def _next_command(name: StateName, path: Path, state: CampaignState) -> str:
    match name:
        case "running":
            return journal_files.command("status", path)
        case "finished" | "purged":
            return journal_files.command("report", path)
        case "undecided":
            return decide_command(path, state.open[0].seq)
        case "stopped":
            return journal_files.resume_command(path, state)


def decide_command(path: Path, batch: int) -> str:
    """Return the shell command that records whether a batch was applied."""
    return journal_files.command("decide", path, str(batch)) + " --applied YES_OR_NO"


def _open_rows(batches: Iterable[CampaignBatch], *, is_running: bool) -> dict[str, int]:
    counts = dict.fromkeys(("planned", "in_flight", "pending", "unknown"), 0)
    for batch in batches:
        kind = OPEN_KINDS.get(batch.state, "unknown")
        # A batch that was in flight when its run was killed may have been applied.
        counts["unknown" if kind == "in_flight" and not is_running else kind] += batch.open_count
    return counts


def _utc(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)


def _last_write_at(path: Path) -> datetime:
    # The newest entries may be in the write-ahead log, which SQLite merges into the file later.
    files = [path, path.with_name(f"{path.name}-wal")]
    return _utc(max(file.stat().st_mtime for file in files if file.exists()))


def _total_cost(state: CampaignState) -> RunCost:
    return RunCost(**structs.asdict(add_costs(state.cost_before, state.run.cost)))


def _reasons(reader: JournalReader) -> list[ReasonCount]:
    kinds: dict[tuple[str, str], int] = {}
    for outcome, reason, count in reader.reasons(KINDS_MAX):
        if outcome is not Outcome.DUPLICATE:
            kind = (str(outcome), kind_of(reason or "no reason given"))
            kinds[kind] = kinds.get(kind, 0) + count
    return sorted((ReasonCount(*kind, rows) for kind, rows in kinds.items()), key=lambda item: -item.rows)


def _ambiguity(path: Path, reader: JournalReader, status: CampaignStatus) -> dict[str, Any]:
    """Return the fields of the report about ambiguous attempts; all rows are read only if there are any."""
    attempts = [attempt for attempt in reader.lost() if attempt.event or not status.is_running]
    batch_rows: dict[int, _BatchRows] = {attempt.seq: _BatchRows() for attempt in attempts}
    duplicated = _RowRanges()
    if (attempts or status.possibly_duplicated) and status.state != "purged":
        for outcome in reader.row_outcomes():
            if outcome.possibly_duplicated:
                duplicated.add(outcome.row)
            if outcome.seq in batch_rows:
                batch_rows[outcome.seq].add(outcome)
    return {
        "possibly_duplicated_rows": duplicated.ranges,
        "ambiguous_attempts": [
            _ambiguous_attempt(attempt, reader.attempts(attempt.seq), batch_rows[attempt.seq]) for attempt in attempts
        ],
        "undecided_batches": _undecided(path, reader),
    }


def _undecided(path: Path, reader: JournalReader) -> list[UndecidedBatch]:
    return [
        UndecidedBatch(batch.seq, batch.row, batch.rows, _cause(batch.attempts[-1]), decide_command(path, batch.seq))
        for batch in reader.decidable()
    ]


@attrs.define
class _BatchRows:
    """Rows of one batch, and the reason of its first row."""

    first_row: int = 0
    rows: int = 0
    reason: str | None = None
    is_open: bool = False

    def add(self, outcome: RowOutcome) -> None:
        if not self.rows:
            self.first_row, self.reason = outcome.row, outcome.reason
        self.rows += 1
        self.is_open = self.is_open or not outcome.final


def _ambiguous_attempt(
    attempt: JournaledAttempt, attempts: Sequence[JournaledAttempt], batch_rows: _BatchRows
) -> AmbiguousAttempt:
    second_attempt = next((other for other in attempts if other.attempt > attempt.attempt), None)
    resent_at = None if second_attempt is None else _utc(second_attempt.at)
    if resent_at is not None:
        action = f"sent again at {local_time(resent_at)}"
    elif batch_rows.is_open:
        action = "not sent again yet"
    else:
        action = f"not sent again: {masked(batch_rows.reason or 'every row has its final outcome')}"
    return AmbiguousAttempt(
        attempt.seq,
        batch_rows.first_row,
        batch_rows.rows,
        _utc(attempt.at),
        attempt.token_id,
        _cause(attempt),
        action,
        resent_at,
    )


def _cause(attempt: JournaledAttempt) -> str:
    if attempt.event is None:
        return "the process ended before the answer came"
    return masked(attempt.detail or "no answer came")


class _RowRanges:
    """Collects ascending rows as (first, last) ranges, at most 1,000 of them."""

    def __init__(self) -> None:
        self.ranges: list[tuple[int, int]] = []

    def add(self, row: int) -> None:
        ranges = self.ranges
        if ranges and ranges[-1][1] == row - 1:
            ranges[-1] = (ranges[-1][0], row)
        elif len(ranges) < RANGES_MAX:
            ranges.append((row, row))
