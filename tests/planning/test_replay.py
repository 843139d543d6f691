"""The one reading of the entries."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.journal.stories import BEGUN, Teller, picture, tellers
from truecaller_async.errors import JournalError
from truecaller_async.models import (
    AttemptEnded,
    Begun,
    Entry,
    GivenUp,
    Intent,
    Judged,
    Outcome,
    Place,
    Planned,
    Read,
    RunBegan,
    Settled,
    SourceEnded,
    Spent,
)
from truecaller_async.planning.batch_state import State
from truecaller_async.planning.replay import Standing

PLANNED = (Planned(1, (1, 2, 3)), Read(Place(3, 4, 90)))
INTENT = Intent(1, 1, "0123456789ab", 10.0)
ACCEPTED = AttemptEnded(1, 1, "accepted", 11.0, batch_id="b-1")
LOST = AttemptEnded(1, 1, "lost", 11.0)
REFUSED = AttemptEnded(1, 1, "refused", 11.0, reason="bad label", field="label_id")


def after(*entries: Entry) -> Standing:
    standing = Standing()
    for entry in entries:
        standing.take(entry)
    return standing


@given(tellers(), st.integers(1, 60))
@settings(max_examples=150)
def test_after_every_prefix_each_row_has_one_owner_and_is_counted_once(teller: Teller, steps: int) -> None:
    for _ in range(steps):
        teller.transaction()
        standing = teller.standing
        assert standing.account().total() == standing.place.row + len(standing.loose)
        at_home = {row: batch.seq for batch in standing.open for row in batch.open}
        assert at_home == {row: home for row, home in teller.homes.items() if isinstance(home, int)}
        words = [home for home in teller.homes.values() if not isinstance(home, int)]
        assert {outcome: count for outcome, count in standing.outcomes.items() if count} == {
            outcome: sum(word[0] is outcome for word in words) for outcome in {word[0] for word in words}
        }
        assert standing.twice == sum(word[4] for word in words)


@given(tellers(), st.integers(1, 60))
@settings(max_examples=100)
def test_batch_with_a_possible_answer_is_never_called_unsent(teller: Teller, steps: int) -> None:
    lost: set[int] = set()
    for _ in range(steps):
        for entry in teller.transaction():
            if isinstance(entry, Intent):
                lost.add(entry.seq)
            elif isinstance(entry, AttemptEnded) and entry.event not in ("lost", "accepted", "untracked"):
                lost.discard(entry.seq)
        for batch in teller.standing.open:
            if batch.state in (State.IN_FLIGHT, State.IN_DOUBT, State.HELD, State.ACCEPTED, State.UNTRACKED):
                assert batch.seq in lost
                assert batch.as_it_stands is Outcome.UNKNOWN


@given(tellers(), st.integers(1, 60))
@settings(max_examples=50)
def test_memory_has_only_open_batches_and_their_roots(teller: Teller, steps: int) -> None:
    for _ in range(steps):
        teller.transaction()
        roots = {batch.root for batch in teller.standing.open}
        assert all(batch.left or seq in roots for seq, batch in teller.standing.batches.items())


@pytest.mark.parametrize(
    "entries",
    [
        [INTENT],
        [LOST],
        [*PLANNED, LOST],
        [*PLANNED, INTENT, INTENT],
        [*PLANNED, INTENT, ACCEPTED, ACCEPTED],
        [*PLANNED, INTENT, ACCEPTED, Intent(1, 2, "0123456789ab", 12.0)],
        [*PLANNED, INTENT, AttemptEnded(1, 1, "not_sent", 11.0), INTENT],
        [*PLANNED, INTENT, AttemptEnded(1, 2, "lost", 11.0)],
        [*PLANNED, INTENT, AttemptEnded(1, 1, "vanished", 11.0)],
        [*PLANNED, INTENT, AttemptEnded(1, 1, "finished", 11.0)],
        [*PLANNED, GivenUp(1)],
        [*PLANNED, INTENT, LOST, Judged(1, True, 12.0)],
        [*PLANNED, Settled((4,), Outcome.FAILED, seq=1)],
        [*PLANNED, Settled((), Outcome.FAILED, seq=1)],
        [*PLANNED, Settled((1, 1), Outcome.FAILED, seq=1)],
        [*PLANNED, Settled((1,), Outcome.FAILED, seq=1), Settled((1,), Outcome.DELIVERED, seq=1)],
        [*PLANNED, Settled((1,), Outcome.INVALID)],
        [Settled((1,), Outcome.INVALID), Settled((1,), Outcome.INVALID)],
        [Settled((1,), Outcome.INVALID), Planned(1, (1, 2))],
        [Planned(1, ())],
        [Planned(1, (2, 1))],
        [Planned(1, (1, 1))],
        [*PLANNED, Planned(2, (3,))],
        [*PLANNED, Planned(2, (3, 4), parent=1)],
        [*PLANNED, Planned(1, (3,), parent=1)],
        [Planned(2, (1,)), Planned(1, (1,), parent=2)],
        [*PLANNED, Planned(2, (4,), parent=3)],
        [*PLANNED, INTENT, Planned(1, (4,))],
        [*PLANNED, Read(Place(4, 5, 99))],
        [Planned(1, (1, 3)), Read(Place(2, 3, 60))],
        [Planned(1, (1, 2)), Read(Place(1, 2, 30))],
        [BEGUN, BEGUN],
    ],
)
def test_impossible_entry_is_refused_and_changes_nothing(entries: list[Entry]) -> None:
    standing = after(*entries[:-1])
    before = picture(after(*entries[:-1]))
    with pytest.raises(JournalError):
        standing.take(entries[-1])
    assert picture(standing) == before


def test_lost_answer_decided_as_not_applied_is_resent_and_stays_flagged() -> None:
    standing = after(*PLANNED, INTENT, LOST, GivenUp(1), SourceEnded())
    assert (standing.batch(1).state, standing.batch(1).let_go) == (State.HELD, True)
    standing.take(Judged(1, False, 12.0))
    assert (standing.batch(1).state, standing.batch(1).doubts) == (State.PLANNED, 1)
    assert standing.account() == {Outcome.UNKNOWN: 3}
    assert not standing.complete


def test_batch_resent_after_a_lost_answer_is_flagged() -> None:
    standing = after(*PLANNED, INTENT, LOST, Intent(1, 2, "0123456789ab", 12.0))
    assert not standing.batch(1).resent
    standing.take(AttemptEnded(1, 2, "accepted", 13.0, batch_id="b-2"))
    batch = standing.batch(1)
    assert (batch.resent, batch.sends, batch.doubts, batch.batch_id) == (True, 2, 1, "b-2")


def test_rows_closed_before_acceptance_are_excluded_from_the_server_batch() -> None:
    standing = after(*PLANNED, Settled((2,), Outcome.EXPIRED, seq=1), INTENT, ACCEPTED)
    batch = standing.batch(1)
    assert (set(batch.left_out), list(batch.open), standing.sent, standing.accepted) == ({2}, [1, 3], 2, 1)


def test_root_of_isolated_records_stays_until_the_last_is_final() -> None:
    parts = [Planned(2, (1,), 1, "push"), Planned(3, (2, 3), 1)]
    standing = after(*PLANNED, INTENT, REFUSED, *parts)
    assert sorted(standing.batches) == [1, 2, 3]
    assert [batch.seq for batch in standing.open] == [2, 3]
    standing.take(Settled((1,), Outcome.DELIVERED, seq=2))
    standing.take(Planned(4, (2, 3), 3))
    assert sorted(standing.batches) == [1, 4]
    assert standing.batch(4).root == 1
    standing.take(Settled((2, 3), Outcome.FAILED, "bad label", 4))
    assert standing.batches == {}


def test_campaign_is_complete_once_source_ended_and_every_row_is_final() -> None:
    standing = after(*PLANNED, SourceEnded(), INTENT, ACCEPTED, Settled((1, 2), Outcome.DELIVERED, seq=1))
    assert not standing.complete
    standing.take(Settled((3,), Outcome.UNKNOWN, "unattributed", 1))
    assert standing.complete
    assert not after(*PLANNED, Settled((1, 2, 3), Outcome.EXPIRED, seq=1)).complete


def test_costs_of_earlier_runs_are_added() -> None:
    begun = Begun(0.0, "0", "a", "v2", {}, None, b"")
    one, two = Spent({"submit": 1, "mint": 1}, 1, 2, 3, 4.0), Spent({"submit": 2, "status": 5}, 1, 1, 1, 1.0)
    standing = after(begun, RunBegan(1.0, 1), one, RunBegan(2.0, 2), two, RunBegan(3.0, 3))
    assert (standing.runs, standing.last_run) == (3, RunBegan(3.0, 3))
    assert standing.spent_before == Spent({"submit": 3, "mint": 1, "status": 5}, 2, 3, 4, 5.0)
    assert standing.spent == Spent({}, 0, 0, 0, 0.0)
