"""Check a finished campaign, row by row, against the log of the server.

This is the specification of the crash tests: no row is lost, no outcome contradicts the server, no record is applied
more often than the journal allows, and of each pair the latest applied row is applied last.
"""

from __future__ import annotations

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import attrs

from tests.crash.campaigns import DUPLICATE, EXPIRED, GOOD, INVALID, UNKNOWN_LABEL, Row
from truecaller_async.journal.reader import JournalReader, RowOutcome
from truecaller_async.models import Outcome

NEVER_SENT = frozenset({Outcome.INVALID, Outcome.EXPIRED, Outcome.DUPLICATE, Outcome.UNSENT})
POSSIBLE_OUTCOMES: Mapping[str, frozenset[Outcome]] = {
    INVALID: frozenset({Outcome.INVALID}),
    EXPIRED: frozenset({Outcome.INVALID, Outcome.EXPIRED}),
    DUPLICATE: frozenset({Outcome.DUPLICATE}),
    UNKNOWN_LABEL: frozenset({Outcome.FAILED, Outcome.UNKNOWN}),
}


@attrs.frozen
class AppliedRecord:
    """One record that the server applied."""

    row: int
    """The row that its reason text names."""
    delivered: bool
    """Whether the server delivered it."""


@attrs.frozen
class FinalJournal:
    """The content of the journal of a finished campaign."""

    outcomes: Sequence[RowOutcome]
    """The outcomes of all rows."""
    parents: Mapping[int, int | None]
    """The parent of each batch."""
    lost: Counter[int]
    """The number of lost answers of each batch."""
    attempts: int
    """The number of all attempts."""
    unended: int
    """The number of attempts without an end."""
    batches: int
    """The number of batches."""
    summary: Counter[Outcome]
    """The counts of the outcomes, by the state of the campaign."""
    read: int
    """The number of rows that were read."""
    source_exhausted: bool
    """Whether the source was read to its end."""

    @classmethod
    def of(cls, path: Path) -> FinalJournal:
        """Read the journal; raise `JournalError` if it cannot be read."""
        with JournalReader(path) as reader:
            outcomes = list(reader.row_outcomes())
            state = reader.state()
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
            parents = dict(db.execute("SELECT seq, parent FROM batch"))
            ends = db.execute("SELECT seq, event, count(*) FROM attempt GROUP BY seq, event").fetchall()
        lost: Counter[int] = Counter()
        for seq, event, count in ends:
            lost[seq] += count if event == "lost" else 0
        return cls(
            outcomes=outcomes,
            parents=parents,
            lost=lost,
            attempts=sum(count for _, _, count in ends),
            unended=sum(count for _, event, count in ends if event is None),
            batches=len(parents),
            summary=state.outcome_counts(),
            read=state.position.row,
            source_exhausted=state.source_exhausted,
        )

    def lost_of(self, outcome: RowOutcome) -> int:
        """Return the number of lost answers of all batches that the row was ever in."""
        total, seq = 0, outcome.seq
        while seq is not None:
            total += self.lost[seq]
            seq = self.parents.get(seq)
        return total


@attrs.define
class Findings:
    """The counts of one campaign, and the laws that it violated."""

    rows: int = 0
    batches: int = 0
    attempts: int = 0
    ambiguous: int = 0
    lost: int = 0
    unflagged: int = 0
    flagged: int = 0
    unknown_applied: int = 0
    unknown_not_applied: int = 0
    violations: list[str] = attrs.field(factory=list)

    def add(self, other: Findings) -> None:
        """Add the counts and violations of another campaign."""
        for field in attrs.fields(Findings):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))


def check(rows: Sequence[Row], journal: FinalJournal, applied: Sequence[AppliedRecord], policy: str) -> Findings:
    """Check a finished campaign.

    Args:
        rows: The rows of its input.
        journal: The content of its journal.
        applied: The records that the server applied, in their order.
        policy: Its `on_ambiguous`.
    """
    times: Counter[int] = Counter(record.row for record in applied)
    delivered = {record.row for record in applied if record.delivered}
    outcomes_per_row = Counter(result.row for result in journal.outcomes)
    found = Findings(
        rows=len(rows),
        batches=journal.batches,
        attempts=journal.attempts,
        ambiguous=sum(journal.lost.values()),
        lost=sum(outcomes_per_row[row.number] == 0 for row in rows),
        flagged=sum(result.possibly_duplicated and times[result.row] > 1 for result in journal.outcomes),
        unflagged=sum(
            not result.possibly_duplicated and times[result.row] > 1
            for result in journal.outcomes
            if result.row in times
        ),
        unknown_applied=sum(result.outcome is Outcome.UNKNOWN and times[result.row] > 0 for result in journal.outcomes),
        unknown_not_applied=sum(
            result.outcome is Outcome.UNKNOWN and not times[result.row] for result in journal.outcomes
        ),
    )
    found.violations += _check_campaign(rows, journal, outcomes_per_row)
    by_row = {result.row: result for result in journal.outcomes}
    for row, result in ((row, by_row[row.number]) for row in rows if row.number in by_row):
        found.violations += [
            f"row {row.number} ({row.kind}, {result.outcome}, batch {result.seq}): {text}"
            for text in _check_row(row, result, times[row.number], row.number in delivered)
        ]
        allowed = 1 + journal.lost_of(result)
        if row.kind != DUPLICATE and times[row.number] > allowed:
            found.violations.append(f"row {row.number} was applied {times[row.number]} times, and {allowed} may be")
        if result.possibly_duplicated and not journal.lost_of(result):
            found.violations.append(f"row {row.number} is possibly duplicated, and no answer was lost")
    if policy == "hold":
        found.violations += [
            f"row {row} was applied {count} times under hold" for row, count in times.items() if count > 1
        ]
    found.violations += _check_pair_order(rows, applied)
    return found


def check_results(lines: Iterable[Mapping[str, str]], journal: FinalJournal) -> Iterator[str]:
    """Yield what is wrong in a results file: it must have each row once, with its journaled outcome."""
    lines = list(lines)
    counts = Counter(int(line["row"]) for line in lines)
    yield from (f"row {row} is {count} times in the results" for row, count in counts.items() if count > 1)
    missing = [result.row for result in journal.outcomes if result.row not in counts]
    if missing:
        yield f"{len(missing)} rows are not in the results, the first of them {missing[0]}"
    unknown = [row for row in counts if not 1 <= row <= len(journal.outcomes)]
    if unknown:
        yield f"the results have a row {unknown[0]} that does not exist"
        return
    for line in lines:
        result = journal.outcomes[int(line["row"]) - 1]
        written = (line["outcome"], line["possibly_duplicated"], line["attempts"])
        expected = (str(result.outcome), str(result.possibly_duplicated).lower(), str(result.attempts))
        if written != expected:
            yield f"row {result.row} is {written} in the results and {expected} in the journal"


def _check_campaign(rows: Sequence[Row], journal: FinalJournal, counts: Counter[int]) -> Iterator[str]:
    yield from (f"row {row.number} has {counts[row.number]} outcomes" for row in rows if counts[row.number] != 1)
    if len(counts) > len(rows):
        yield f"the journal has outcomes of {len(counts)} rows, and there are {len(rows)}"
    if not journal.source_exhausted or journal.read != len(rows):
        yield f"the source is not read to its end: {journal.read} of {len(rows)} rows"
    if journal.unended:
        yield f"{journal.unended} attempts have no end"
    if journal.summary != Counter(result.outcome for result in journal.outcomes):
        yield f"the summary {dict(journal.summary)} is not the sum of the outcomes"


def _check_row(row: Row, result: RowOutcome, times: int, delivered: bool) -> Iterator[str]:
    """Yield what is wrong with a row that was applied `times` times."""
    outcome = result.outcome
    if row.kind in POSSIBLE_OUTCOMES and outcome not in POSSIBLE_OUTCOMES[row.kind]:
        yield "this kind of row cannot have this outcome"
    if row.kind == DUPLICATE:
        return
    if outcome is Outcome.UNSENT:
        yield "it is unsent in a finished campaign"
    if outcome in NEVER_SENT and times:
        yield f"it was applied {times} times"
    if outcome is Outcome.DELIVERED and not delivered:
        yield "the server never delivered it"
    if outcome is Outcome.FAILED and delivered:
        yield "the server delivered it"
    if outcome is Outcome.FAILED and row.kind == GOOD and not row.is_failure:
        yield "nothing is wrong with it"
    if times > 1 and not result.possibly_duplicated:
        yield f"it was applied {times} times and is not flagged"
    if times > result.attempts:
        yield f"it was applied {times} times in {result.attempts} attempts"


def _check_pair_order(rows: Sequence[Row], applied: Sequence[AppliedRecord]) -> Iterator[str]:
    """Yield each pair of which the last applied row is not its latest applied row."""
    pairs = {row.number: row.pair for row in rows}
    last: dict[tuple[str, str], int] = {}
    latest: defaultdict[tuple[str, str], int] = defaultdict(int)
    for record in applied:
        pair = pairs[record.row]
        last[pair] = record.row
        latest[pair] = max(latest[pair], record.row)
    for pair, row in last.items():
        if row != latest[pair]:
            yield f"row {row} was applied after row {latest[pair]}, which is a later one of its pair"
