"""What a journal says of its campaign, as values that can be shown as lines, as JSON and as a page.

A look (`State`) is cheap and is taken while a run is going. A report (`Report`) reads every word that is not quiet.
Times are wall-clock seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import attrs

from truecaller_async.cli.campaign import journal_files
from truecaller_async.cli.campaign.failure_reasons import KINDS_KEPT, kind_of
from truecaller_async.cli.formatting import masked, moment
from truecaller_async.errors import JournalError
from truecaller_async.models import Outcome, RunCost
from truecaller_async.planning.batch_state import BatchState as BatchState
from truecaller_async.planning.campaign_state import CampaignState, JournaledBatch, add_costs
from truecaller_async.sources import count_rows

if TYPE_CHECKING:
    from truecaller_async.journal.reader import JournaledAttempt, JournalReader, RowOutcome

Name: TypeAlias = Literal["running", "stopped", "held back", "finished", "purged"]

RANGES_KEPT = 1000
OPEN_AS = {
    BatchState.PLANNED: "planned",
    BatchState.STOPPED: "planned",
    BatchState.REJECTED: "planned",
    BatchState.IN_FLIGHT: "in_flight",
    BatchState.ACCEPTED: "pending",
}
"""How the rows of an open batch are counted; those of any other are unknown."""


@attrs.frozen(kw_only=True)
class JournalState:
    """Where a campaign stands.

    `pid` is the process that works on it, 0 where that is not known, None where nobody does. `total` is about how many
    rows the input has. `final` counts rows by their final word, `open` the others: planned, in_flight, pending
    (accepted and not resolved), unknown (the answer was lost). `next` is the command to type.
    """

    journal: str
    input: str
    results: str | None
    state: Name
    pid: int | None
    began_at: float
    last_run_at: float
    last_write: float
    read: int
    total: int | None
    source_ended: bool
    final: Mapping[str, int]
    open: Mapping[str, int]
    batches: int
    possibly_duplicated: int
    runs: int
    next: str

    @property
    def is_running(self) -> bool:
        """Whether a process works on it."""
        return self.pid is not None


@attrs.frozen
class LostAttempt:
    """A send whose answer was lost: what was `seen` of it, and what was `done`; no long number is in these texts."""

    batch: int
    first_row: int
    rows: int
    at: float
    token: str
    seen: str
    done: str


@attrs.frozen
class UndecidedBatch:
    """A batch that an operator may settle, and the command."""

    batch: int
    first_row: int
    rows: int
    seen: str
    command: str


@attrs.frozen(kw_only=True)
class CampaignReport:
    """The whole account.

    `outcomes` has every row that was read, as it stands. `reasons` are (outcome, reason, rows), `twice` the rows that
    were possibly delivered twice as (first, last). `effort` is the cost of all runs, `latest` that of the latest.
    """

    state: JournalState
    account: str
    api_version: str
    library: str
    on_ambiguous: str
    outcomes: Mapping[str, int]
    reasons: Sequence[tuple[str, str, int]]
    cost: RunCost
    latest: RunCost
    twice: Sequence[tuple[int, int]]
    lost: Sequence[LostAttempt]
    held: Sequence[UndecidedBatch]


def state_of(path: Path) -> JournalState:
    """A look. Raises `JournalError`."""
    with journal_files.reader_of(path) as reader:
        return _state(path, reader, reader.state())


def report_on(path: Path) -> CampaignReport:
    """The report. Raises `JournalError`."""
    with journal_files.reader_of(path) as reader:
        standing = reader.state()
        state = _state(path, reader, standing)
        begun = standing.started
        assert begun is not None  # noqa: S101 - `_state` has refused a journal without
        return CampaignReport(
            state=state,
            account=begun.account,
            api_version=begun.api_version,
            library=begun.library,
            on_ambiguous=str(begun.options["on_ambiguous"]),
            outcomes={outcome: standing.outcome_counts()[outcome] for outcome in Outcome},
            reasons=_reasons(reader),
            cost=_effort(standing),
            latest=RunCost(**attrs.asdict(standing.cost, recurse=False)),
            **_troubles(path, reader, state),
        )


def held_in(path: Path) -> list[UndecidedBatch]:
    """The batches that an operator may settle. Raises `JournalError`."""
    with journal_files.reader_of(path) as reader:
        return _held(path, reader)


def _state(path: Path, reader: JournalReader, standing: CampaignState) -> JournalState:
    begun = standing.started
    if begun is None:
        raise JournalError(f"{path} holds no campaign yet")
    pid = reader.owner()
    name = _name(pid, standing, is_purged=reader.purged())
    last_run = standing.last_run
    source = begun.source
    return JournalState(
        journal=str(path),
        input=standing.notes.get(journal_files.INPUT) or ("the input" if source is None else source.path),
        results=standing.notes.get(journal_files.RESULTS),
        state=name,
        pid=pid,
        began_at=begun.at,
        last_run_at=begun.at if last_run is None else last_run.at,
        last_write=_last_write(path),
        read=standing.position.row,
        total=standing.position.row
        if standing.source_exhausted
        else None
        if source is None
        else count_rows(source.path),
        source_ended=standing.source_exhausted,
        final={outcome: standing.outcomes[outcome] for outcome in Outcome},
        open=_open(standing.open, is_running=pid is not None),
        batches=standing.accepted,
        possibly_duplicated=standing.possibly_duplicated
        + sum(batch.open_count for batch in standing.open if batch.possibly_duplicated),
        runs=standing.runs,
        next=_next(name, path, standing),
    )


def _name(pid: int | None, standing: CampaignState, *, is_purged: bool) -> Name:
    if is_purged:
        return "purged"
    if pid is not None:
        return "running"
    if standing.complete:
        return "finished"
    held = all(batch.state is BatchState.ABANDONED for batch in standing.open)
    return "held back" if standing.source_exhausted and held else "stopped"


def _next(name: Name, path: Path, standing: CampaignState) -> str:
    match name:
        case "running":
            return journal_files.command("status", path)
        case "finished" | "purged":
            return journal_files.command("report", path)
        case "held back":
            return settle_command(path, standing.open[0].seq)
        case "stopped":
            return journal_files.resume_command(path, standing)


def settle_command(path: Path, seq: int) -> str:
    """What an operator types who knows whether that batch was applied."""
    return journal_files.command("settle", path, str(seq)) + " --applied yes|no"


def _open(batches: Iterable[JournaledBatch], *, is_running: bool) -> dict[str, int]:
    """A batch that was in flight when its run was killed may have been applied: its rows are unknown."""
    counts = dict.fromkeys(("planned", "in_flight", "pending", "unknown"), 0)
    for batch in batches:
        kind = OPEN_AS.get(batch.state, "unknown")
        counts["unknown" if kind == "in_flight" and not is_running else kind] += batch.open_count
    return counts


def _last_write(path: Path) -> float:
    """The journal itself, or the log beside it that is not merged yet."""
    found = [path, path.with_name(f"{path.name}-wal")]
    return max(file.stat().st_mtime for file in found if file.exists())


def _effort(standing: CampaignState) -> RunCost:
    return RunCost(**attrs.asdict(add_costs(standing.cost_before, standing.cost), recurse=False))


def _reasons(reader: JournalReader) -> list[tuple[str, str, int]]:
    """The most frequent first; rows that are wrong in the same way are one reason."""
    kinds: dict[tuple[str, str], int] = {}
    for outcome, reason, count in reader.reasons(KINDS_KEPT):
        if outcome is not Outcome.DUPLICATE:
            kind = (str(outcome), kind_of(reason or "no reason given"))
            kinds[kind] = kinds.get(kind, 0) + count
    return sorted(((*kind, count) for kind, count in kinds.items()), key=lambda item: -item[2])


def _troubles(path: Path, reader: JournalReader, state: JournalState) -> dict[str, Any]:
    """What may have gone wrong: rows that were sent twice, lost answers, and what waits for a word."""
    attempts = [attempt for attempt in reader.lost() if attempt.event or not state.is_running]
    homes: dict[int, _Home] = {attempt.seq: _Home() for attempt in attempts}
    twice = _Ranges()
    if (attempts or state.possibly_duplicated) and state.state != "purged":
        for word in reader.row_outcomes():
            if word.possibly_duplicated:
                twice.add(word.row)
            if word.seq in homes:
                homes[word.seq].add(word)
    lost = [_lost(attempt, reader.attempts(attempt.seq), homes[attempt.seq]) for attempt in attempts]
    return {"twice": twice.found, "lost": lost, "held": _held(path, reader)}


def _held(path: Path, reader: JournalReader) -> list[UndecidedBatch]:
    return [
        UndecidedBatch(batch.seq, batch.row, batch.rows, _seen(batch.attempts[-1]), settle_command(path, batch.seq))
        for batch in reader.decidable()
    ]


@attrs.define
class _Home:
    """The rows of a batch, and what is said of the first of them."""

    first_row: int = 0
    rows: int = 0
    reason: str | None = None
    is_open: bool = False

    def add(self, word: RowOutcome) -> None:
        if not self.rows:
            self.first_row, self.reason = word.row, word.reason
        self.rows += 1
        self.is_open = self.is_open or not word.final


def _lost(attempt: JournaledAttempt, attempts: Sequence[JournaledAttempt], home: _Home) -> LostAttempt:
    again = next((other for other in attempts if other.attempt > attempt.attempt), None)
    if again is not None:
        done = f"sent again at {moment(again.at)}"
    elif home.is_open:
        done = "not sent again yet"
    else:
        done = f"not sent again: {masked(home.reason or 'every row has its final word')}"
    return LostAttempt(attempt.seq, home.first_row, home.rows, attempt.at, attempt.token_id, _seen(attempt), done)


def _seen(attempt: JournaledAttempt) -> str:
    if attempt.event is None:
        return "the process ended before the answer came"
    return masked(attempt.detail or "no answer came")


class _Ranges:
    """Ascending rows as (first, last), the first thousand of them."""

    def __init__(self) -> None:
        self.found: list[tuple[int, int]] = []

    def add(self, row: int) -> None:
        found = self.found
        if found and found[-1][1] == row - 1:
            found[-1] = (found[-1][0], row)
        elif len(found) < RANGES_KEPT:
            found.append((row, row))
