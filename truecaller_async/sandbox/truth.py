"""The truth log: every record that took effect, in the order in which it did.

A client's own account of a campaign can be compared with it, record by record. An entry is written when a record is
applied, and says at once what its final word will be. Numbers are given as plain digits, whatever the version.

Memory is bounded: beyond `limit` records the oldest posts are forgotten, and with them the statuses of their batches
and their bodies (a repeat of one is then no duplicate). The numbering goes on, so a reader who pages with `after` sees
the gap.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections import Counter

import msgspec

from truecaller_async.models import mask_number
from truecaller_async.sandbox.batches.applied_posts import AppliedPost


class TruthEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One applied record.

    `n` numbers the records from 1, `post` the POSTs; `attempt` is 1 the first time that this body was applied, 2 the
    second time. `call` is "submit" or "push"; `batch_id` is None where the client was told none. `index` is the
    place in the batch from 0. `token` is the number of the token, `applied_at` wall-clock seconds, `starts_at` and
    `ends_at` milliseconds. `outcome` is "success" or "failed".
    """

    n: int
    post: int
    attempt: int
    call: str
    version: str
    token: int
    applied_at: float
    batch_id: str | None
    index: int
    caller: str | None
    receiver: str | None
    label_id: str | None
    label_name: str | None
    reason: str | None
    starts_at: int | None
    ends_at: int | None
    outcome: str
    message: str | None

    def __repr__(self) -> str:
        return f"TruthEntry(n={self.n}, receiver={mask_number(self.receiver)!r}, outcome={self.outcome!r})"


class TruthLog:
    """Everything applied, as far as it is remembered.

    `records` and `batches` count all that ever was; `duplicates` counts, by call, the POSTs whose very body had been
    applied before.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._posts: dict[int, AppliedPost] = {}
        self._batches: dict[str, AppliedPost] = {}
        self._bodies: Counter[bytes] = Counter()
        self.posts = 0
        self.records = 0
        self.kept_records = 0
        self.batches = 0
        self.duplicates: Counter[str] = Counter()

    def next_attempt(self, digest: bytes) -> int:
        """Which time it is that this body is applied: 1, 2, ..."""
        return self._bodies[digest] + 1

    def append(self, applied: AppliedPost) -> None:
        """One more POST took effect."""
        self.posts += 1
        self._posts[applied.post] = applied
        self._bodies[applied.digest] += 1
        self.records += len(applied.records)
        self.kept_records += len(applied.records)
        if applied.attempt > 1:
            self.duplicates[applied.call] += 1
        if applied.call == "submit":
            self.batches += 1
        if applied.batch_id is not None:
            self._batches[applied.batch_id] = applied
        self._evict_oldest()

    def batch(self, batch_id: str) -> AppliedPost | None:
        """The POST that was answered with this batch id, if it is remembered."""
        return self._batches.get(batch_id)

    def entries(self, after: int = 0, limit: int = 1000) -> list[TruthEntry]:
        """The next `limit` entries with `n` above `after`."""
        found: list[TruthEntry] = []
        numbers = range(self._oldest, self.posts + 1)
        start = bisect_right(numbers, after + 1, key=lambda number: self._posts[number].first)
        for number in numbers[max(0, start - 1) :]:
            applied = self._posts[number]
            skip = max(0, after + 1 - applied.first)
            stop = min(len(applied.records), skip + limit - len(found))
            found.extend(_entry(applied, index) for index in range(skip, stop))
            if len(found) >= limit:
                break
        return found

    @property
    def _oldest(self) -> int:
        """The number of the oldest post that is remembered."""
        return self.posts - len(self._posts) + 1

    def _evict_oldest(self) -> None:
        """The newest post stays, however large it is."""
        while self.kept_records > self._limit and len(self._posts) > 1:
            oldest = self._posts.pop(self._oldest)
            self.kept_records -= len(oldest.records)
            if oldest.batch_id is not None:
                del self._batches[oldest.batch_id]
            self._bodies[oldest.digest] -= 1
            if not self._bodies[oldest.digest]:
                del self._bodies[oldest.digest]


def digest_of(body: bytes) -> bytes:
    """A short name of a body, by which the same body is known again."""
    return hashlib.blake2b(body, digest_size=16).digest()


def _entry(applied: AppliedPost, index: int) -> TruthEntry:
    record = applied.records[index]
    verdict = applied.verdict(index)
    return TruthEntry(
        n=applied.first + index,
        post=applied.post,
        attempt=applied.attempt,
        call=applied.call,
        version=applied.form.version,
        token=applied.token,
        applied_at=applied.at,
        batch_id=applied.batch_id,
        index=index,
        caller=_digits(record.caller),
        receiver=_digits(record.receiver),
        label_id=record.label_id,
        label_name=record.label_name,
        reason=record.reason,
        starts_at=record.starts_at,
        ends_at=record.ends_at,
        outcome=verdict.status,
        message=verdict.message,
    )


def _digits(number: str | None) -> str | None:
    return number.removeprefix("+") if number is not None else None
