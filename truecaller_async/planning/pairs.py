"""Source order for each (caller, receiver) pair.

A record is a register, not an increment: the newest one for a pair decides what the phone shows. So a draft that
holds a later record of a pair waits until the draft with the earlier one is settled: accepted, refused or given up.
Only pairs of unsettled drafts are remembered.
"""

from __future__ import annotations

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

    def enter(self, draft: Draft) -> set[int]:
        """Note the draft's pairs; returns the unsettled drafts that hold earlier records of them."""
        earlier = set()
        newest = self._newest
        seq = draft.seq
        self._entered[seq] = pairs = [(record.caller, record.receiver) for record in draft.records]
        for pair in pairs:
            before = newest.get(pair)
            if before is not None and before != seq:
                earlier.add(before)
            newest[pair] = seq
        return earlier

    def settle(self, draft: Draft) -> None:
        """Forget the pairs of a draft for which no later one has come, also of records that were taken out of it."""
        newest = self._newest
        seq = draft.seq
        for pair in self._entered.pop(seq, ()):
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
