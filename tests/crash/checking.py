"""What must be true of a campaign when it has come to its end, row by row, against the server's own log.

This is the whole specification of the crash tests: no row is lost, nothing is claimed that did not happen, nothing
happened twice that the journal did not see coming, and an older word never lies over a newer one.
"""

from __future__ import annotations

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import attrs

from tests.crash.campaigns import BAD, GOOD, LATE, POISON, REPEAT, Row
from truecaller_async.journal.reader import JournalReader, RowOutcome
from truecaller_async.models import Outcome

NEVER_SENT = frozenset({Outcome.INVALID, Outcome.EXPIRED, Outcome.DUPLICATE, Outcome.UNSENT})
WORDS_OF: Mapping[str, frozenset[Outcome]] = {
    BAD: frozenset({Outcome.INVALID}),
    LATE: frozenset({Outcome.INVALID, Outcome.EXPIRED}),
    REPEAT: frozenset({Outcome.DUPLICATE}),
    POISON: frozenset({Outcome.FAILED, Outcome.UNKNOWN}),
}


@attrs.frozen
class Deed:
    """One record that took effect at the server: whose words it had, and the server's verdict."""

    row: int
    delivered: bool


@attrs.frozen
class Story:
    """What a journal tells at the end. `homes` are the batches by their parents, `lost` the lost attempts by batch."""

    words: Sequence[RowOutcome]
    homes: Mapping[int, int | None]
    lost: Counter[int]
    attempts: int
    unended: int
    batches: int
    account: Counter[Outcome]
    read: int
    ended: bool

    @classmethod
    def of(cls, path: Path) -> Story:
        """Read it, to the last word. Raises `JournalError`."""
        with JournalReader(path) as reader:
            words = list(reader.row_outcomes())
            state = reader.state()
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
            homes = dict(db.execute("SELECT seq, parent FROM batch"))
            ends = db.execute("SELECT seq, event, count(*) FROM attempt GROUP BY seq, event").fetchall()
        lost: Counter[int] = Counter()
        for seq, event, count in ends:
            lost[seq] += count if event == "lost" else 0
        return cls(
            words=words,
            homes=homes,
            lost=lost,
            attempts=sum(count for _, _, count in ends),
            unended=sum(count for _, event, count in ends if event is None),
            batches=len(homes),
            account=state.outcome_counts(),
            read=state.position.row,
            ended=state.source_exhausted,
        )

    def lost_of(self, word: RowOutcome) -> int:
        """The lost attempts of all batches that the row was ever in."""
        total, seq = 0, word.seq
        while seq is not None:
            total += self.lost[seq]
            seq = self.homes.get(seq)
        return total


@attrs.define
class Findings:
    """The account of one campaign, and every law that it broke."""

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
        """Both together."""
        for field in attrs.fields(Findings):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))


def check(rows: Sequence[Row], story: Story, deeds: Sequence[Deed], policy: str) -> Findings:
    """Hold a finished campaign to the laws. `deeds` are in the order in which they took effect."""
    times: Counter[int] = Counter(deed.row for deed in deeds)
    delivered = {deed.row for deed in deeds if deed.delivered}
    told = Counter(word.row for word in story.words)
    found = Findings(
        rows=len(rows),
        batches=story.batches,
        attempts=story.attempts,
        ambiguous=sum(story.lost.values()),
        lost=sum(told[row.number] == 0 for row in rows),
        flagged=sum(word.possibly_duplicated and times[word.row] > 1 for word in story.words),
        unflagged=sum(
            not word.possibly_duplicated and times[word.row] > 1 for word in story.words if word.row in times
        ),
        unknown_applied=sum(word.outcome is Outcome.UNKNOWN and times[word.row] > 0 for word in story.words),
        unknown_not_applied=sum(word.outcome is Outcome.UNKNOWN and not times[word.row] for word in story.words),
    )
    found.violations += _of_the_whole(rows, story, told)
    words = {word.row: word for word in story.words}
    for row, word in ((row, words[row.number]) for row in rows if row.number in words):
        found.violations += [
            f"row {row.number} ({row.kind}, {word.outcome}, batch {word.seq}): {text}"
            for text in _of_a_row(row, word, times[row.number], row.number in delivered)
        ]
        allowed = 1 + story.lost_of(word)
        if row.kind != REPEAT and times[row.number] > allowed:
            found.violations.append(f"row {row.number} was applied {times[row.number]} times, and {allowed} may be")
        if word.possibly_duplicated and not story.lost_of(word):
            found.violations.append(f"row {row.number} is possibly duplicated, and no answer was lost")
    if policy == "hold":
        found.violations += [
            f"row {row} was applied {count} times under hold" for row, count in times.items() if count > 1
        ]
    found.violations += _of_the_order(rows, deeds)
    return found


def check_results(lines: Iterable[Mapping[str, str]], story: Story) -> Iterator[str]:
    """What is wrong in a results file when its campaign is complete: each row stands there once, as in the journal."""
    lines = list(lines)
    counts = Counter(int(line["row"]) for line in lines)
    yield from (f"row {row} stands {count} times in the results" for row, count in counts.items() if count > 1)
    missing = [word.row for word in story.words if word.row not in counts]
    if missing:
        yield f"{len(missing)} rows are not in the results, the first of them {missing[0]}"
    strange = [row for row in counts if not 1 <= row <= len(story.words)]
    if strange:
        yield f"the results have a row {strange[0]} that is none"
        return
    for line in lines:
        word = story.words[int(line["row"]) - 1]
        theirs = (line["outcome"], line["possibly_duplicated"], line["attempts"])
        ours = (str(word.outcome), str(word.possibly_duplicated).lower(), str(word.attempts))
        if theirs != ours:
            yield f"row {word.row} is {theirs} in the results and {ours} in the journal"


def _of_the_whole(rows: Sequence[Row], story: Story, told: Counter[int]) -> Iterator[str]:
    yield from (f"row {row.number} has {told[row.number]} words" for row in rows if told[row.number] != 1)
    if len(told) > len(rows):
        yield f"the journal has words on {len(told)} rows, and there are {len(rows)}"
    if not story.ended or story.read != len(rows):
        yield f"the source is not read to its end: {story.read} of {len(rows)} rows"
    if story.unended:
        yield f"{story.unended} attempts have no end"
    if story.account != Counter(word.outcome for word in story.words):
        yield f"the account {dict(story.account)} is not what the words add up to"


def _of_a_row(row: Row, word: RowOutcome, times: int, delivered: bool) -> Iterator[str]:
    """`times` it took effect."""
    outcome = word.outcome
    if row.kind in WORDS_OF and outcome not in WORDS_OF[row.kind]:
        yield "this kind of row cannot have this word"
    if row.kind == REPEAT:
        return
    if outcome is Outcome.UNSENT:
        yield "it is unsent in a finished campaign"
    if outcome in NEVER_SENT and times:
        yield f"it was applied {times} times"
    if outcome is Outcome.DELIVERED and not delivered:
        yield "the server never delivered it"
    if outcome is Outcome.FAILED and delivered:
        yield "the server delivered it"
    if outcome is Outcome.FAILED and row.kind == GOOD and not row.is_refused_by_phone:
        yield "nothing is wrong with it"
    if times > 1 and not word.possibly_duplicated:
        yield f"it was applied {times} times and is not flagged"
    if times > word.attempts:
        yield f"it was applied {times} times in {word.attempts} attempts"


def _of_the_order(rows: Sequence[Row], deeds: Sequence[Deed]) -> Iterator[str]:
    """Of each pair, what took effect last is the latest row of those that took effect."""
    pairs = {row.number: row.pair for row in rows}
    last: dict[tuple[str, str], int] = {}
    latest: defaultdict[tuple[str, str], int] = defaultdict(int)
    for deed in deeds:
        pair = pairs[deed.row]
        last[pair] = deed.row
        latest[pair] = max(latest[pair], deed.row)
    for pair, row in last.items():
        if row != latest[pair]:
            yield f"row {row} took effect after row {latest[pair]}, which is a later one of its pair"
