"""Test that the memory of a campaign does not grow with the batches that it has finished."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from typing import Any

from tests.campaign.core.records import record
from truecaller_async.campaign.core.batch import CampaignBatch
from truecaller_async.campaign.core.batch_content import BatchContent
from truecaller_async.campaign.core.campaign_state import REASONS_MAX, CampaignState
from truecaller_async.campaign.core.recent_ids import RECENT_IDS_MAX, RecentIds
from truecaller_async.campaign.core.work_queue import WorkQueue
from truecaller_async.journal.outcome_kinds import CACHED_OUTCOMES_MAX, OutcomeKinds
from truecaller_async.journal.statements import StatementBuilder
from truecaller_async.models import Outcome
from truecaller_async.models.journal_entries import (
    AttemptEnded,
    AttemptStarted,
    BatchPlanned,
    JournalEntry,
    RowsRead,
    RowsSettled,
    RunStarted,
    SourcePosition,
)
from truecaller_async.options import PollPolicy

OPEN_BATCHES = 16
"""Batches that are open at the same time."""
BATCHES_OF_STATE = 200_000
BATCHES_OF_ALL_PARTS = 2 * RECENT_IDS_MAX

OTHER_BOUND = 8 * OPEN_BATCHES
"""Bound of each container that holds something for each open batch, its rows or its pairs."""
BOUNDS = {
    "_hashes": RECENT_IDS_MAX,
    "_order": RECENT_IDS_MAX,
    "_known": CACHED_OUTCOMES_MAX,
    "refusals_by_reason": REASONS_MAX + 1,
}


def lengths(root: object) -> dict[str, int]:
    """Return the largest length of the containers below an object, by the name of the attribute that holds them."""
    found: Counter[str] = Counter()
    seen: set[int] = set()
    waiting: list[tuple[str, Any]] = [("", root)]
    while waiting:
        name, value = waiting.pop()
        if id(value) in seen or isinstance(value, str | bytes | range | type):
            continue
        seen.add(id(value))
        if isinstance(value, dict | list | set | frozenset | deque | tuple):
            found[name] = max(found[name], len(value))
            inner = [*value, *value.values()] if isinstance(value, dict) else [*value]
            waiting += [(name, one) for one in inner if not isinstance(one, int | float)]
        elif type(value).__module__.startswith("truecaller_async"):
            waiting += attributes_of(value)
    return dict(found)


def attributes_of(value: object) -> Iterator[tuple[str, Any]]:
    names = {
        *getattr(value, "__dict__", {}),
        *(n for kind in type(value).__mro__ for n in getattr(kind, "__slots__", ())),
    }
    return ((name, getattr(value, name)) for name in sorted(names) if hasattr(value, name) and name != "__weakref__")


def assert_bounded(*roots: object) -> None:
    for root in roots:
        for name, length in lengths(root).items():
            assert length <= BOUNDS.get(name, OTHER_BOUND), f"{type(root).__name__} holds {length} objects in {name}"


def planned(seq: int) -> tuple[JournalEntry, JournalEntry]:
    """Return the plan of a batch of two rows."""
    return BatchPlanned(seq, range(2 * seq - 1, 2 * seq + 1)), RowsRead(SourcePosition(2 * seq, 2 * seq, 60 * seq))


def sent(seq: int) -> tuple[JournalEntry, JournalEntry]:
    """Return an accepted attempt."""
    return AttemptStarted(seq, 1, "t", 1.0), AttemptEnded(seq, 1, "accepted", 2.0, f"b-{seq}")


def settled(seq: int) -> tuple[JournalEntry, ...]:
    """Return the final outcomes; some rows fail, each for another reason."""
    rows = range(2 * seq - 1, 2 * seq + 1)
    if seq % 10:
        return (RowsSettled(rows, Outcome.DELIVERED, seq=seq),)
    return RowsSettled(rows[:1], Outcome.DELIVERED, seq=seq), RowsSettled(rows[1:], Outcome.FAILED, f"bad {seq}", seq)


def test_state_is_bounded_after_many_batches() -> None:
    state, open_batches = CampaignState(), deque[int]()
    state.apply(RunStarted(0.0, 1))
    for seq in range(1, BATCHES_OF_STATE + 1):
        open_batches.append(seq)
        for entry in (*planned(seq), *sent(seq)):
            state.apply(entry)
        if len(open_batches) == OPEN_BATCHES:
            for entry in settled(open_batches.popleft()):
                state.apply(entry)
        if seq % 20_000 == 0:
            assert_bounded(state)
    assert state.position.row == 2 * BATCHES_OF_STATE
    assert lengths(state)["_hashes"] == RECENT_IDS_MAX


class AllParts:
    """A state with its queue, the order of its pairs, and the statements of its journal."""

    def __init__(self) -> None:
        self.state = CampaignState()
        self.queue = WorkQueue(self.state, PollPolicy())
        self.builder = StatementBuilder(self.state, OutcomeKinds({}, 0))
        self.now = 0.0
        self.record(RunStarted(0.0, 1))

    def record(self, *entries: JournalEntry) -> None:
        """Apply the entries as one transaction; attach records to the new batches."""
        changed: dict[int, CampaignBatch] = {}
        for entry in entries:
            changed |= {batch.seq: batch for batch in self.state.apply(entry)}
            if isinstance(entry, BatchPlanned):
                records = [record(row % 40) for row in entry.rows]
                changed[entry.seq].attach(BatchContent.of(entry.rows, records, records))
                blocked_by = self.queue.pairs.add(entry.seq, changed[entry.seq].content)
                self.queue.enter(changed[entry.seq], blocked_by)
        self.builder.build(entries, changed.values())
        for batch in changed.values():
            self.queue.place(batch, self.now)

    def send_one(self) -> None:
        """Send the most urgent batch."""
        self.queue.promote(self.now)
        item = self.queue.peek("submit", self.now, with_retries=True)
        assert item is not None
        self.record(sent(item.batch.seq)[0])
        self.record(sent(item.batch.seq)[1])

    def poll_due(self) -> None:
        """Poll what is due: the second poll of a batch is final."""
        while (item := self.queue.peek("status", self.now, with_retries=True)) is not None:
            assert item.polls is not None
            self.queue.take_poll(item)
            item.polls.polls += 1
            if item.polls.polls == 1:
                self.queue.add_poll(item, self.now + 3.0)
            else:
                self.record(*settled(item.batch.seq))


def test_queue_pairs_and_statements_are_bounded_after_many_batches() -> None:
    parts = AllParts()
    for seq in range(1, BATCHES_OF_ALL_PARTS + 1):
        parts.record(*planned(seq))
        parts.now += 1.0
        parts.send_one()
        parts.poll_due()
        if seq % 5_000 == 0:
            assert_bounded(parts.state, parts.queue, parts.builder)
    assert lengths(parts.state)["_hashes"] == RECENT_IDS_MAX
    assert len(parts.queue.pairs) <= 40


def test_growth_is_seen_by_the_check() -> None:
    ids = RecentIds()
    ids._hashes.update(range(RECENT_IDS_MAX + 1))
    state = CampaignState()
    state.run.recent_batch_ids = ids
    assert lengths(state)["_hashes"] == RECENT_IDS_MAX + 1
    state = CampaignState(notes={str(n): "x" for n in range(OTHER_BOUND + 1)})
    assert lengths(state)["notes"] == OTHER_BOUND + 1
