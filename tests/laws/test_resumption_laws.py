"""Law 4 as a property of whole campaigns: whatever prefix of its journal a crash leaves, a resumed run keeps laws 1-3.

A campaign is run in several lives. Each dies at some write to the journal, before or after the entries were safe, while
requests are on their way; the last one lives. The server's own log of what it applied is the judge.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from random import Random
from typing import Any, Literal

import attrs
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from tests.engine.crashing import Death, Life, Survivor, live
from tests.engine.world import LABEL, World, record
from truecaller_async import (
    CallRecord,
    CampaignOptions,
    CampaignStream,
    Limits,
    Outcome,
    PollPolicy,
    RateLimit,
    RetryPolicy,
    Summary,
)
from truecaller_async.models import Request
from truecaller_async.sandbox import SandboxSettings, SandboxState

FAULTS = ("not_sent", "lost_before", "lost_after", "500_before", "500_after", "429", "empty")
STRANGE = "11111111-2222-4333-8444-555555555555"
LIMITS = Limits(
    (
        RateLimit("token", 100, 1.0),
        RateLimit("batch", 30, 6.0, calls=("submit",)),
        RateLimit("mint", 1000, 1800.0, "account", calls=("mint",)),
    )
)


@attrs.frozen
class Fate:
    """Everything about one example."""

    seed: int
    rows: int
    pairs: int
    deaths: tuple[tuple[int, bool], ...]
    faults: float
    latency: float
    resolve_after: float
    on_ambiguous: Literal["resend", "hold"]
    same_pair: Literal["in_order", "keep_last"]
    isolate: Literal["realtime", "bisect", "none"]
    correlate: Literal["auto", "watermark"]
    poison: float
    given_again: bool
    stop: tuple[str, float] | None


fates = st.builds(
    Fate,
    seed=st.integers(0, 10**6),
    rows=st.integers(1, 2_600),
    pairs=st.sampled_from((40, 700, 10**6)),
    deaths=st.lists(st.tuples(st.integers(1, 40), st.booleans()), min_size=1, max_size=4).map(tuple),
    faults=st.sampled_from((0.0, 0.1, 0.4)),
    latency=st.sampled_from((0.01, 1.0, 8.0)),
    resolve_after=st.sampled_from((0.0, 1.0, 45.0)),
    on_ambiguous=st.sampled_from(("resend", "hold")),
    same_pair=st.sampled_from(("in_order", "keep_last")),
    isolate=st.sampled_from(("realtime", "bisect", "none")),
    correlate=st.sampled_from(("auto", "watermark")),
    poison=st.sampled_from((0.0, 0.0, 0.002)),
    given_again=st.booleans(),
    stop=st.one_of(st.none(), st.tuples(st.sampled_from(("drain", "abort")), st.floats(0.0, 20.0))),
)


def rows_of(fate: Fate) -> list[object]:
    """Good rows, bad rows, repeated rows, rows of one pair, windows that close soon, and poison."""
    dice = Random(fate.seed)
    rows: list[object] = []
    for number in range(fate.rows):
        kind = dice.random()
        if kind < 0.03:
            rows.append({"caller": "nobody"})
        elif kind < 0.06 and rows:
            rows.append(rows[-1])
        else:
            receiver = f"9198{number % fate.pairs:06d}{dice.choice(('00', '13', '77'))}"
            label = STRANGE if dice.random() < fate.poison else LABEL
            hours = 0.03 if kind > 0.98 else 8
            rows.append(
                record(number, receiver=receiver, hours=hours, reason=f"Reason {number:06d} of it", label_id=label)
            )
    return rows


def world_of(fate: Fate, state: SandboxState, life: int) -> World:
    def fault(request: Request, count: int, dice: Random) -> str | None:
        if dice.random() >= fate.faults:
            return None
        wrong = dice.choice(FAULTS)
        return None if request.call == "mint" and wrong == "empty" else wrong

    return World(
        seed=fate.seed + 7919 * life,
        state=state,
        limits=LIMITS,
        max_tokens=3,
        latency=(0.0, fate.latency),
        fault=fault,
        retry=RetryPolicy(attempts=50, total=6000.0),
    )


def options_of(fate: Fate) -> CampaignOptions:
    return CampaignOptions(
        on_ambiguous=fate.on_ambiguous,
        same_pair=fate.same_pair,
        isolate=fate.isolate,
        correlate=fate.correlate,
        poll=PollPolicy(deadline=600.0),
    )


def run_lives(fate: Fate) -> tuple[list[Life], Survivor, SandboxState]:
    """One life after the other, until one that dies no more has finished."""
    state = SandboxState(SandboxSettings(limits=LIMITS, enforce=False, resolve_after=fate.resolve_after))
    survivor = Survivor()
    rows = rows_of(fate)
    lives: list[Life] = []
    now = 0.0

    async def stop(stream: CampaignStream) -> None:
        what, when = fate.stop or ("", 0.0)
        await asyncio.sleep(when)
        await (stream.drain() if what == "drain" else stream.abort())

    for number, (write, kept) in enumerate([*fate.deaths, (10**9, True)]):
        fresh = survivor.state.started is None
        stopped: Any = stop if fate.stop is not None and number == 0 else None
        life, now = live(
            lambda number=number: world_of(fate, state, number),  # type: ignore[misc]
            survivor,
            rows if fresh or fate.given_again else None,
            options_of(fate) if fresh else None,
            death=Death(write, kept),
            start=now + 1.0,
            meanwhile=stopped,
        )
        lives.append(life)
        expected = ("refused", "label", "neither yes nor no")  # three answers in a row that nobody can read
        assert life.fault is None or life.died or any(word in str(life.fault) for word in expected), life.fault
        check_standing(survivor)
    return lives, survivor, state


def check_standing(survivor: Survivor) -> None:
    """Law 2 as the journal alone tells it, after every life."""
    standing = survivor.state
    assert sum(standing.outcome_counts().values()) == standing.position.row
    homes = Counter(row for batch in standing.open for row in batch.open_rows)
    assert max(homes.values(), default=1) == 1


@attrs.frozen
class Word:
    """What is known of a row at the end of all lives."""

    outcome: Outcome
    attempts: int
    possibly_duplicated: bool
    final: bool


def words_of(lives: list[Life], survivor: Survivor) -> dict[int, Word]:
    """The final words of the journal, and what the last life said of the other rows; readers heard nothing else."""
    words = {
        row: Word(entry.outcome, entry.attempts, entry.possibly_duplicated, final=True)
        for row, entry in survivor.words.items()
    }
    for life in lives:
        for result in life.results:
            heard = Word(result.outcome, result.attempts, result.possibly_duplicated, result.final)
            if result.final:
                assert words[result.row] == heard
            elif result.row not in survivor.words:
                words[result.row] = heard
    return words


def check_truth(fate: Fate, lives: list[Life], survivor: Survivor, state: SandboxState) -> None:
    """Laws 2 and 3 against the server's own log."""
    truth = list(state.truth(0, 10**6))
    applied = Counter((entry.receiver, entry.reason) for entry in truth)
    succeeded = {(entry.receiver, entry.reason) for entry in truth if entry.outcome == "success"}
    given = records_by_row(fate)
    for row, word in words_of(lives, survivor).items():
        if row not in given or word.outcome in (Outcome.INVALID, Outcome.DUPLICATE):
            continue
        what = given[row]
        assert word.outcome is not Outcome.DELIVERED or what in succeeded
        assert word.outcome not in (Outcome.UNSENT, Outcome.EXPIRED) or not applied[what]
        assert applied[what] <= 1 or (word.possibly_duplicated and fate.on_ambiguous == "resend"), (
            row,
            word,
            applied[what],
        )
        assert word.attempts >= applied[what]
    check_order(fate, [(entry.receiver, entry.reason) for entry in truth])


def records_by_row(fate: Fate) -> dict[int, tuple[str, str | None]]:
    """What tells the records of the good rows apart."""
    rows = enumerate(rows_of(fate), 1)
    return {row: (given.receiver, given.reason) for row, given in rows if isinstance(given, CallRecord)}


def check_order(fate: Fate, applied: list[tuple[str | None, str | None]]) -> None:
    """Of each pair, the record that was applied last is the latest row of those that were applied."""
    last: dict[str | None, int] = {}
    latest: defaultdict[str | None, int] = defaultdict(int)
    rows = {what: row for row, what in reversed(records_by_row(fate).items())}
    for receiver, reason in applied:
        row = rows[str(receiver), reason]
        last[receiver], latest[receiver] = row, max(latest[receiver], row)
    assert last == latest


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(fates)
def test_any_prefix_of_any_journal_can_be_resumed(fate: Fate) -> None:
    note(repr(fate))
    check(fate)


def check(fate: Fate) -> None:
    """Run all lives, and hold what they said against the journal, the server's log and the rows that were given."""
    lives, survivor, state = run_lives(fate)
    check_truth(fate, lives, survivor, state)
    standing, summary = survivor.state, lives[-1].stream.summary
    assert summary.adds_up
    assert summary.read == standing.position.row == len(words_of(lives, survivor))
    assert standing.outcomes == Counter(word.outcome for word in survivor.words.values())
    if fate.given_again and lives[-1].fault is None:
        assert summary.read == fate.rows
        assert standing.source_exhausted
        assert all(batch.provisional_outcome is not Outcome.UNSENT for batch in standing.open)
        check_finished(fate, survivor, state, summary)


def check_finished(fate: Fate, survivor: Survivor, state: SandboxState, before: Summary) -> None:
    """A campaign that is finished posts nothing when it is resumed, and says the same."""
    submits, pushes = state.stats().batches, state.stats().records_applied
    again, _ = live(lambda: world_of(fate, state, 99), survivor, rows_of(fate), None, start=10**6)
    assert (state.stats().batches, state.stats().records_applied) == (submits, pushes)
    summary = again.stream.summary
    assert again.fault is None
    assert summary.adds_up
    assert summary.runs == before.runs + 1
    assert summary.possibly_duplicated == before.possibly_duplicated
    if not before.unknown:
        assert again.results == []
        assert not Counter(summary.this_run.requests).total()
        assert summary.delivered == before.delivered
