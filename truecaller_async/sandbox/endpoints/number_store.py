"""The book of the account's numbers: which number is in which feature set, and since when.

Publishing and delisting take their time. A published number is listed `list_after` seconds later, a delisted one is
gone as long after its delisting. Publishing a number whose delisting still runs is ignored (documented): it stays on
its way out, and the answer to a listing has no bucket for it.

No page explains the buckets of an answer; this is how their names are read here:

    invalid_numbers             not 7 to 15 digits with country code; a `+` is in no sample and is not taken
    others_numbers              owned by another account: a number that ends in 65
    other_phonetype_numbers     listed under another phone type: a number that ends in 78
    other_feature_set_numbers   in another feature set of this account
    existing_numbers            in this feature set, listed or on its way in: publishing leaves it, delisting ends it
    processing_numbers          on its way out already; only the answer to a delisting has this bucket
    new_numbers                 in no feature set: publishing takes it, delisting fails on it

The two endings are the sandbox's own rule, so that a test can choose. A number that is named twice counts once.
`migrated_numbers`, `delisted_numbers` and `updated_numbers` stay empty: nothing says what would be in them.

The book has room for so many numbers, those on their way out included. A listing that would need more is refused as a
whole. Nothing is documented about such a bound; it bounds the memory of a sandbox that runs for long.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType

import attrs

from truecaller_async.models import mask_number

BY_LAST_DIGITS: Mapping[str, str] = MappingProxyType({"65": "others_numbers", "78": "other_phonetype_numbers"})
_NUMBER = re.compile(r"[1-9][0-9]{6,14}", re.ASCII)

Buckets = dict[str, list[str]]


@attrs.define(repr=False)
class NumberEntry:
    """One number in its feature set. Moments are wall-clock seconds; `gone_at` is None until it is delisted."""

    number: str
    feature_set_id: str
    published_at: float
    listed_at: float
    delisted_at: float | None = None
    removed_at: float | None = None

    def __repr__(self) -> str:
        return f"Entry({mask_number(self.number)})"

    def was_listed(self, now: float) -> bool:
        """Whether it got in: its listing was over by now, and was not overtaken by its delisting."""
        return self.listed_at <= (now if self.delisted_at is None else min(now, self.delisted_at))

    def changed_at(self, now: float) -> float:
        """The latest of its moments that has come."""
        moments = (self.published_at, self.listed_at, self.delisted_at)
        return max(moment for moment in moments if moment is not None and moment <= now)


class NumberStore:
    """Every number of the account, in the order in which they were published."""

    def __init__(self, list_after: float, capacity: int) -> None:
        self._list_after = list_after
        self._capacity = capacity
        self._entries: dict[str, NumberEntry] = {}

    def publish(self, feature_set_id: str, numbers: Iterable[str], now: float) -> Buckets | None:
        """Put numbers on their way into a feature set; each in the bucket that says what became of it.

        None where there is no room for all that are new; then none was put in.
        """
        buckets = self._into_buckets(feature_set_id, numbers, now)
        new_numbers = buckets.get("new_numbers", ())
        if len(self._entries) + len(new_numbers) > self._capacity:
            self._remove_delisted(now)
        if len(self._entries) + len(new_numbers) > self._capacity:
            return None
        for number in new_numbers:
            # Put in anew, so that a number that was gone and comes back is the last one again.
            self._entries.pop(number, None)
            self._entries[number] = NumberEntry(number, feature_set_id, now, now + self._list_after)
        return buckets

    def delist(self, feature_set_id: str, numbers: Iterable[str], now: float) -> Buckets:
        """Put numbers of a feature set on their way out; each in the bucket that says what becomes of it."""
        buckets = self._into_buckets(feature_set_id, numbers, now)
        for number in buckets.get("existing_numbers", ()):
            entry = self._entries[number]
            entry.delisted_at, entry.removed_at = now, now + self._list_after
        return buckets

    def entries(self, now: float) -> Iterator[NumberEntry]:
        """The numbers that are in a feature set, or on their way in or out."""
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
