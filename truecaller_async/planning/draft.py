"""A batch before the server knows it.

A `Draft` keeps three lists of one length: the row numbers, the records as the caller gave them, and the records as
they are sent (canonical form; one and the same list where nothing had to be formed). Its `columns` are the same records
by field. Batches are the unit inside the engine; records appear singly only at its edges.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import attrs

from truecaller_async.models import CallRecord, Columns
from truecaller_async.planning.batch_state import Attempts, Event, State, advance

NEVER = 2**63


@attrs.define(eq=False)
class Draft(Attempts):
    """Up to 500 records that go out together, and how far they got.

    `closes` is the earliest end of a window in it (milliseconds). `via` says by which call it is sent: "submit", or
    "push" for a single record that is isolated. `root` is the batch from which it was split in order to find a bad
    record. `again`: its next attempt repeats one that failed, and draws on the retry budget. `lost_at`: when its answer
    was lost, on the loop's clock; an answer that an earlier process lost was lost long ago. `is_distinct`: all its
    pairs of caller and receiver are different, as far as somebody has looked.
    """

    seq: int
    rows: Sequence[int]
    given: list[CallRecord]
    records: list[CallRecord]
    closes: int
    via: str = "submit"
    root: int | None = None
    state: State = State.PLANNED
    not_before: float = 0.0
    again: bool = False
    is_distinct: bool = False
    lost_at: float = float("-inf")
    after: set[int] = attrs.field(factory=set)
    _columns: Columns | None = None

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def columns(self) -> Columns:
        """The records by field, made when they are first asked for."""
        if self._columns is None:
            self._columns = Columns.of(self.records)
        return self._columns

    @property
    def keys(self) -> list[str | None]:
        """The callers' own keys, as they were given."""
        return self.columns.key if self.given is self.records else [given.key for given in self.given]

    def happen(self, event: Event) -> None:
        """Move to the state that follows."""
        self.state = advance(self.state, event)

    def take_out(self, indexes: Collection[int]) -> list[tuple[int, CallRecord]]:
        """Take out the records at these places."""
        if not indexes:
            return []
        gone = set(indexes)
        taken = [(self.rows[index], self.given[index]) for index in sorted(gone)]
        keep = [index for index in range(len(self.rows)) if index not in gone]
        self.rows = [self.rows[index] for index in keep]
        self.given = [self.given[index] for index in keep]
        self.records = [self.records[index] for index in keep]
        self._columns = None
        self.closes = closing(self.records)
        return taken

    def part(self, seq: int, start: int, stop: int, via: str) -> Draft:
        """A new draft of the records from `start` to `stop`, which remembers where it came from."""
        records = self.records[start:stop]
        return Draft(
            seq=seq,
            rows=self.rows[start:stop],
            given=self.given[start:stop],
            records=records,
            closes=closing(records),
            via=via,
            root=self.seq if self.root is None else self.root,
            sends=self.sends,
            resent=self.resent,
        )


def closing(records: list[CallRecord]) -> int:
    """The earliest end of a window among canonical records, 0 for none."""
    return min(ends_of(records), default=0)


def ends_of(records: list[CallRecord]) -> list[int]:
    """The ends of the windows in milliseconds; what is no number (`validate=False`) is left for the wire to refuse."""
    return [record.ends_at if isinstance(record.ends_at, int) else NEVER for record in records]
