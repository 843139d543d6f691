"""Source order for each (caller, receiver) pair.

A record is a register, not an increment: the newest one for a pair decides what the phone shows. So a draft that
holds a later record of a pair waits until the draft with the earlier one is settled: accepted, refused or given up.
Only pairs of unsettled drafts are remembered. Nearly every draft is *alone*: no pair comes twice in it, and none came
in a later one. Its pairs are noted and forgotten without a look at each.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence

from truecaller_async.models import CallRecord
from truecaller_async.planning.draft import Draft


def pair_of(record: CallRecord) -> tuple[str, str]:
    """What decides whether one record replaces another."""
    return record.caller, record.receiver


def outdone(records: Sequence[CallRecord], late: Collection[int]) -> list[int]:
    """Places of the records that come before one of these places with the same pair, and are not among them."""
    last = {pair_of(records[index]): index for index in sorted(late)}
    gone = set(late)
    return [i for i, record in enumerate(records) if i not in gone and i < last.get(pair_of(record), -1)]


class PairOrder:
    """Which unsettled draft holds the newest record of a pair."""

    def __init__(self) -> None:
        self._newest: dict[tuple[str, str], int] = {}
        self._entered: dict[int, list[tuple[str, str]]] = {}
        self._alone: set[int] = set()

    def enter(self, draft: Draft) -> set[int]:
        """Note the draft's pairs; returns the unsettled drafts that hold earlier records of them."""
        newest, seq = self._newest, draft.seq
        columns = draft.columns
        self._entered[seq] = pairs = list(zip(columns.caller, columns.receiver, strict=True))
        mine = dict.fromkeys(pairs, seq)
        draft.is_distinct = len(mine) == len(pairs)
        earlier: set[int] = set()
        if not newest.keys().isdisjoint(mine):
            earlier = {newest[pair] for pair in pairs if pair in newest} - {seq}
            self._alone -= earlier
        if draft.is_distinct:
            self._alone.add(seq)
        newest.update(mine)
        return earlier

    def settle(self, draft: Draft) -> None:
        """Forget the pairs of a draft for which no later one has come, also of records that were taken out of it."""
        newest, seq = self._newest, draft.seq
        pairs = self._entered.pop(seq, [])
        if seq in self._alone:
            self._alone.remove(seq)
            deque(map(newest.pop, pairs), maxlen=0)
            return
        for pair in pairs:
            if newest.get(pair) == seq:
                del newest[pair]

    def superseded(self, draft: Draft) -> list[int]:
        """Places in the draft whose pair has a newer record in a later draft."""
        newest = self._newest
        return [
            index for index, record in enumerate(draft.records) if newest.get(pair_of(record), draft.seq) > draft.seq
        ]

    def __len__(self) -> int:
        return len(self._newest)
