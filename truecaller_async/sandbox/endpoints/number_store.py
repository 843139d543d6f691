"""Store of the account's numbers: the feature set of each number, and its times.

Publishing and delisting take time. A published number is listed `list_after` seconds later; a delisted number is
removed `list_after` seconds later. Publishing a number while its delisting runs is ignored (documented): the number is
still removed, and the answer has no bucket for it.

The buckets of an answer are not documented. This sandbox interprets their names as follows:

    invalid_numbers             not 7 to 15 digits with country code; no sample has a `+`, so it is invalid
    others_numbers              owned by another account: numbers that end in 65
    other_phonetype_numbers     listed with another phone type: numbers that end in 78
    other_feature_set_numbers   in another feature set of this account
    existing_numbers            in this feature set, listed or pending: publishing keeps it, delisting removes it
    processing_numbers          already being removed; only in the answer to a delisting
    new_numbers                 in no feature set: publishing adds it, delisting fails for it

The two endings are chosen by the sandbox, so that a test can select the bucket. A number that occurs twice counts once.
`migrated_numbers`, `delisted_numbers` and `updated_numbers` are always empty, because their meaning is unknown.

The capacity includes numbers that are being removed. A listing that needs more is rejected as a whole. The limit is not
documented; it bounds the memory of a sandbox that runs for a long time.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType

import attrs

from truecaller_async.models import mask_number

BY_LAST_DIGITS: Mapping[str, str] = MappingProxyType({"65": "others_numbers", "78": "other_phonetype_numbers"})
"""Buckets that the last two digits of a number select."""
_NUMBER = re.compile(r"[1-9][0-9]{6,14}", re.ASCII)

Buckets = dict[str, list[str]]


@attrs.define(repr=False)
class NumberEntry:
    """One number in its feature set. Times are wall-clock seconds."""

    number: str
    """Number, digits only."""
    feature_set_id: str
    """Id of its feature set."""
    published_at: float
    """Time of publishing."""
    listed_at: float
    """Time at which it is listed."""
    delisted_at: float | None = None
    """Time of delisting, if any."""
    removed_at: float | None = None
    """Time at which it is removed, if it was delisted."""

    def __repr__(self) -> str:
        return f"Entry({mask_number(self.number)})"

    def was_listed(self, now: float) -> bool:
        """Return whether the listing was complete by now and before a delisting."""
        return self.listed_at <= (now if self.delisted_at is None else min(now, self.delisted_at))

    def changed_at(self, now: float) -> float:
        """Return the latest of its times that is not in the future."""
        moments = (self.published_at, self.listed_at, self.delisted_at)
        return max(moment for moment in moments if moment is not None and moment <= now)


class NumberStore:
    """All numbers of the account, in the order of publishing."""

    def __init__(self, list_after: float, capacity: int) -> None:
        self._list_after = list_after
        self._capacity = capacity
        self._entries: dict[str, NumberEntry] = {}

    def publish(self, feature_set_id: str, numbers: Iterable[str], now: float) -> Buckets | None:
        """Start publishing numbers in a feature set.

        Returns:
            The numbers by bucket. None if the capacity is not sufficient for all new numbers; then none is added.
        """
        buckets = self._into_buckets(feature_set_id, numbers, now)
        new_numbers = buckets.get("new_numbers", ())
        if len(self._entries) + len(new_numbers) > self._capacity:
            self._remove_delisted(now)
        if len(self._entries) + len(new_numbers) > self._capacity:
            return None
        for number in new_numbers:
            # Remove the old entry first: a number that is published again moves to the end of the order.
            self._entries.pop(number, None)
            self._entries[number] = NumberEntry(number, feature_set_id, now, now + self._list_after)
        return buckets

    def delist(self, feature_set_id: str, numbers: Iterable[str], now: float) -> Buckets:
        """Start removing numbers from a feature set; return the numbers by bucket."""
        buckets = self._into_buckets(feature_set_id, numbers, now)
        for number in buckets.get("existing_numbers", ()):
            entry = self._entries[number]
            entry.delisted_at, entry.removed_at = now, now + self._list_after
        return buckets

    def entries(self, now: float) -> Iterator[NumberEntry]:
        """Yield the numbers that are listed, pending, or being removed."""
        return (entry for entry in self._entries.values() if _is_present(entry, now))

    def _into_buckets(self, feature_set_id: str, numbers: Iterable[str], now: float) -> Buckets:
        buckets: Buckets = {}
        for number in dict.fromkeys(numbers):
            buckets.setdefault(self._bucket(feature_set_id, number, now), []).append(number)
        return buckets

    def _remove_delisted(self, now: float) -> None:
        self._entries = {entry.number: entry for entry in self.entries(now)}

    def _bucket(self, feature_set_id: str, number: str, now: float) -> str:
        if not _NUMBER.fullmatch(number):
            return "invalid_numbers"
        if number[-2:] in BY_LAST_DIGITS:
            return BY_LAST_DIGITS[number[-2:]]
        entry = self._entries.get(number)
        if entry is None or not _is_present(entry, now):
            return "new_numbers"
        if entry.removed_at is not None:
            return "processing_numbers"
        return "existing_numbers" if entry.feature_set_id == feature_set_id else "other_feature_set_numbers"


def _is_present(entry: NumberEntry, now: float) -> bool:
    return entry.removed_at is None or now < entry.removed_at
