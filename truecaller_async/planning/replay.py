"""From what a journal was told to where the campaign stands.

`Standing.take` is the one reading of the entries; every journal uses it, whether it keeps its state in memory or on a
disk. An entry that cannot follow from those before it is refused, because it would be a lie: an attempt that ends
without having begun, a word on a row that has one, a row that nobody read.

Law 4 lives here. After any number of entries, from the first to the last:

- each row up to `place.row` has a final word, or belongs to exactly one open batch;
- a batch whose attempt has not ended may have been applied (`IN_FLIGHT`), and one that never had an intent was not;
- so `account` gives every row exactly one outcome, and a resumed run knows for each batch what may be done with it.

Only what is still open is kept in memory: a batch is forgotten with the word on its last row, unless it is the root of
others that are open, for a row's place in its root is part of what was sent (the watermark).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from operator import lt

import attrs

from truecaller_async.errors import JournalError
from truecaller_async.models import (
    AttemptEnded,
    Begun,
    Entry,
    GivenUp,
    Intent,
    Judged,
    Noted,
    Outcome,
    Place,
    Planned,
    Read,
    RunBegan,
    Settled,
    SourceEnded,
    Spent,
)
from truecaller_async.planning.batch_state import Attempts, Event, State, advance

START = Place(0, 0, 0)
NOTHING_SPENT = Spent({}, 0, 0, 0, 0.0)
BEFORE_A_SEND = {
    State.IN_DOUBT: Event.RESEND,
    State.HELD: Event.RESEND,
    State.STOPPED: Event.RESUME,
}
"""What an intent says without words of a batch that was not planned just now."""

NOT_SENT_YET = frozenset({State.PLANNED, State.STOPPED, State.REFUSED})
"""States in which the latest attempt, if there was one, was not applied."""


def is_ascending(rows: Sequence[int]) -> bool:
    """Whether each row comes behind the one before it."""
    return all(map(lt, rows, rows[1:]))


def compact(rows: Sequence[int]) -> Sequence[int]:
    """Ascending rows; as a range where none is left out, because that is what most batches have."""
    if rows and rows[-1] - rows[0] + 1 == len(rows):
        return range(rows[0], rows[-1] + 1)
    return tuple(rows)


@attrs.define(eq=False)
class OpenBatch(Attempts):
    """A batch that still owes words.

    `planned` are its rows as it was planned, ascending; `closed` those of them that have a final word or were planned
    anew, and `left_out` those that were closed already when it was accepted, so that the server never had them in it.
    `begins` is the end of the last row before the rows that were read with it. `let_go` is set when later rows of its
    pairs may have been sent. `reason` and `field` are what the server said where it refused the batch.
    """

    seq: int
    planned: Sequence[int] = attrs.field(converter=compact)
    begins: Place
    closed: set[int] = attrs.field(factory=set)
    left_out: frozenset[int] = frozenset()
    parent: int | None = None
    root: int | None = None
    via: str = "submit"
    state: State = State.PLANNED
    batch_id: str | None = None
    accepted_at: float | None = None
    let_go: bool = False
    reason: str | None = None
    field: str | None = None
    payload: bytes | None = attrs.field(default=None, repr=False)

    @property
    def left(self) -> int:
        """How many of its rows are open."""
        return len(self.planned) - len(self.closed)

    @property
    def open(self) -> list[int]:
        """The rows that are open, ascending."""
        return [row for row in self.planned if row not in self.closed] if self.closed else list(self.planned)

    def has_open(self, rows: Collection[int]) -> bool:
        """Whether all of these are open in it."""
        if not rows or not self.closed.isdisjoint(rows):
            return False
        if isinstance(self.planned, range):
            return min(rows) in self.planned and max(rows) in self.planned
        return set(self.planned).issuperset(rows)

    @property
    def as_it_stands(self) -> Outcome:
        """The outcome of its open rows, if nobody ever went on."""
        if self.state in NOT_SENT_YET and not self.doubts:
            return Outcome.UNSENT
        return Outcome.UNKNOWN

    def happen(self, event: Event) -> None:
        """Move to the state that follows. Raises `JournalError` where none does."""
        try:
            self.state = advance(self.state, event)
        except AssertionError:
            raise JournalError(f"batch {self.seq} is {self.state} and cannot see {event}") from None


@attrs.define(eq=False)
class Standing:
    """Where a campaign stands. `outcomes` counts final words, `twice` the possibly duplicated rows among them.

    `place` is the end of the last row that was read; `batches` holds those that are open, and the roots of such. `runs`
    counts the processes that worked on it; `spent` is what the last of them cost, `spent_before` all the others.
    `accepted` counts batches that the server took, `sent` the records in them. `loose` are rows that were planned or
    settled, and not told as read yet.
    """

    begun: Begun | None = None
    place: Place = START
    ended: bool = False
    outcomes: Counter[Outcome] = attrs.field(factory=Counter)
    twice: int = 0
    batches: dict[int, OpenBatch] = attrs.field(factory=dict)
    last_seq: int = 0
    accepted: int = 0
    sent: int = 0
    runs: int = 0
    last_run: RunBegan | None = None
    spent: Spent = NOTHING_SPENT
    spent_before: Spent = NOTHING_SPENT
    notes: dict[str, str] = attrs.field(factory=dict)
    loose: set[int] = attrs.field(factory=set)
    _kin: Counter[int] = attrs.field(factory=Counter)

    def __attrs_post_init__(self) -> None:
        self._kin.update(batch.root for batch in self.batches.values() if batch.root is not None)

    @property
    def open(self) -> list[OpenBatch]:
        """The batches that owe words, in the order in which they were planned."""
        return [batch for _, batch in sorted(self.batches.items()) if batch.left]

    @property
    def complete(self) -> bool:
        """Whether every row of the source has its final word, so that there is nothing to resume."""
        return self.ended and not self.open

    def account(self) -> Counter[Outcome]:
        """Every row read, by its outcome as it stands."""
        account = self.outcomes.copy()
        for batch in self.open:
            account[batch.as_it_stands] += batch.left
        return account

    def take(self, entry: Entry) -> None:
        """One entry more. Raises `JournalError` for one that cannot be true, and has then changed nothing."""
        match entry:
            case Planned():
                self._planned(entry)
            case Intent():
                self._intent(entry)
            case AttemptEnded():
                self._attempt_ended(entry)
            case GivenUp(seq):
                self._given_up(self.batch(seq))
            case Judged(seq, applied):
                self.batch(seq).happen(Event.APPLIED if applied else Event.NOT_APPLIED)
            case Settled():
                self._settled(entry)
            case Read():
                self._read(entry)
            case _:
                self._about_the_run(entry)

    def batch(self, seq: int) -> OpenBatch:
        """An open batch. Raises `JournalError` where there is none of that number."""
        try:
            return self.batches[seq]
        except KeyError:
            raise JournalError(f"batch {seq} was never planned, or has every word already") from None

    def _about_the_run(self, entry: Entry) -> None:
        match entry:
            case Begun():
                if self.begun is not None:
                    raise JournalError("a campaign cannot begin twice in one journal")
                self.begun = entry
            case RunBegan():
                self.runs += 1
                self.last_run = entry
                self.spent_before, self.spent = total(self.spent_before, self.spent), NOTHING_SPENT
            case SourceEnded():
                self.ended = True
            case Spent():
                self.spent = entry
            case Noted(name, value):
                self.notes[name] = value

    def _planned(self, entry: Planned) -> None:
        parent = None if entry.parent is None else self.batch(entry.parent)
        batch = self.batches.get(entry.seq)
        before = batch.planned[-1:] if batch is not None else ()
        if not is_ascending((*before, *entry.rows)) or not self._are_free(entry.rows, parent):
            raise JournalError(f"batch {entry.seq} is planned with rows that it cannot have")
        if parent is not None and parent.seq >= entry.seq:
            raise JournalError(f"batch {entry.seq} cannot come from batch {parent.seq}, which is not older")
        if batch is not None and (batch.state is not State.PLANNED or not batch.left):
            raise JournalError(f"batch {entry.seq} is {batch.state}, and no more rows can join it")
        if batch is None:
            batch = self._new_batch(entry, parent)
        else:
            batch.planned = compact([*batch.planned, *entry.rows])
        batch.payload = entry.payload
        if parent is None:
            self.loose.update(entry.rows)
            return
        batch.sends = max(batch.sends, parent.sends)
        batch.doubts = max(batch.doubts, parent.doubts)
        batch.resent = batch.resent or parent.resent
        self._close_rows(parent, entry.rows)

    def _are_free(self, rows: Collection[int], parent: OpenBatch | None) -> bool:
        """Whether these rows have no word and no other home: they are open in the parent, or nobody saw them yet."""
        if not rows or parent is not None:
            return parent is not None and parent.has_open(rows)
        return min(rows) > self.place.row and self.loose.isdisjoint(rows)

    def _new_batch(self, entry: Planned, parent: OpenBatch | None) -> OpenBatch:
        root = None if parent is None else parent.seq if parent.root is None else parent.root
        begins = self.place if parent is None else parent.begins
        batch = OpenBatch(entry.seq, entry.rows, begins, parent=entry.parent, root=root, via=entry.via)
        self.batches[entry.seq] = batch
        self.last_seq = max(self.last_seq, entry.seq)
        if root is not None:
            self._kin[root] += 1
        return batch

    def _intent(self, entry: Intent) -> None:
        batch = self.batch(entry.seq)
        if not batch.left or entry.attempt <= batch.tries:
            raise JournalError(f"batch {entry.seq} has no rows to send, or had attempt {entry.attempt} already")
        before = BEFORE_A_SEND.get(batch.state)
        if before is not None:
            batch.happen(before)
        batch.happen(Event.INTENT)
        batch.tries = entry.attempt

    def _attempt_ended(self, entry: AttemptEnded) -> None:
        batch = self.batch(entry.seq)
        try:
            event = Event(entry.event)
        except ValueError:
            raise JournalError(f"batch {entry.seq} ended in a way that nobody knows") from None
        if batch.state is not State.IN_FLIGHT or batch.tries != entry.attempt:
            raise JournalError(f"batch {entry.seq} ended attempt {entry.attempt}, which was not under way")
        batch.happen(event)
        batch.count_end(event)
        if event is Event.ACCEPTED:
            batch.batch_id, batch.accepted_at = entry.batch_id, entry.at
            batch.left_out = frozenset(batch.closed)
            self.accepted += batch.via == "submit"
            self.sent += batch.left
        elif event is Event.REFUSED:
            batch.reason, batch.field = entry.reason, entry.field

    def _given_up(self, batch: OpenBatch) -> None:
        if batch.state is not State.IN_DOUBT:
            raise JournalError(f"batch {batch.seq} is {batch.state}: only one whose answer was lost can be given up")
        batch.happen(Event.GIVE_UP)
        batch.let_go = True

    def _settled(self, entry: Settled) -> None:
        batch = None if entry.seq is None else self.batch(entry.seq)
        if len(set(entry.rows)) != len(entry.rows) or not self._are_free(entry.rows, batch):
            home = "no batch" if batch is None else f"batch {batch.seq}"
            raise JournalError(f"rows of {home} are settled that have their word already, or another home")
        if batch is None:
            self.loose.update(entry.rows)
        else:
            self._close_rows(batch, entry.rows)
        self.outcomes[entry.outcome] += len(entry.rows)
        self.twice += len(entry.rows) * entry.twice

    def _read(self, entry: Read) -> None:
        """Law 2, as far as the journal sees it: what was read is exactly what was planned or settled since."""
        if self.loose != set(range(self.place.row + 1, entry.place.row + 1)):
            raise JournalError(f"the rows up to {entry.place.row} were read, and not each of them is accounted for")
        self.place = entry.place
        self.loose = set()

    def _close_rows(self, batch: OpenBatch, rows: Collection[int]) -> None:
        batch.closed.update(rows)
        if not batch.left:
            batch.payload = None
            self._forget(batch.seq)

    def _forget(self, seq: int) -> None:
        """Unless others come from it; its own root may go with it."""
        batch = self.batches[seq]
        if self._kin[seq]:
            return
        del self.batches[seq]
        if batch.root is None:
            return
        self._kin[batch.root] -= 1
        if not self._kin[batch.root]:
            del self._kin[batch.root]
            root = self.batches.get(batch.root)
            if root is not None and not root.left:
                self._forget(batch.root)


def total(one: Spent, other: Spent) -> Spent:
    """Both together."""
    return Spent(
        _added(one.requests, other.requests),
        one.retries + other.retries,
        one.throttled + other.throttled,
        one.tokens_minted + other.tokens_minted,
        one.elapsed + other.elapsed,
    )


def _added(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return {
        call: one.get(call, 0) + other.get(call, 0) for call in [*one, *(call for call in other if call not in one)]
    }
