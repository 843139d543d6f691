"""Truth log: all records that took effect, in order.

A client's results can be compared with it, record by record. An entry is written when a record is applied, and contains
the final outcome in advance. Numbers are plain digits in all versions.

Memory is bounded: if more than `limit` records are stored, the oldest POSTs are removed, together with the status of
their batches and the digests of their bodies (a repeated body is then not detected as a duplicate). Numbering
continues, so a reader that pages with `after` can detect the gap.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections import Counter

import msgspec

from truecaller_async.models import mask_number
from truecaller_async.sandbox.batches.applied_posts import AppliedPost


class TruthEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One applied record."""

    n: int
    """Number of the record, from 1."""
    post: int
    """Number of the POST, from 1."""
    attempt: int
    """1 the first time that this body was applied, 2 the second time."""
    call: str
    """"submit" or "push"."""
    version: str
    """Version of the API: "v1", "v2" or "v3"."""
    token: int
    """Number of the token."""
    applied_at: float
    """Wall-clock seconds."""
    batch_id: str | None
    """Batch id; None if the answer contained none."""
    index: int
    """Index of the record in the batch, from 0."""
    caller: str | None
    """Caller number, digits only."""
    receiver: str | None
    """Receiver number, digits only."""
    label_id: str | None
    """Label id as sent."""
    label_name: str | None
    """Label name as sent."""
    reason: str | None
    """Call reason as sent."""
    starts_at: int | None
    """Start of the window in milliseconds."""
    ends_at: int | None
    """End of the window in milliseconds."""
    outcome: str
    """"success" or "failed"."""
    message: str | None
    """Message of a failed record."""

    def __repr__(self) -> str:
        return f"TruthEntry(n={self.n}, receiver={mask_number(self.receiver)!r}, outcome={self.outcome!r})"


class TruthLog:
    """Log of applied POSTs with a bounded number of records.

    `records` and `batches` count all that were ever applied. `duplicates` counts, by call, the POSTs whose body had
    been applied before.
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
        """Return the attempt number of the next POST with this body: 1, 2, ..."""
        return self._bodies[digest] + 1

    def append(self, applied: AppliedPost) -> None:
        """Store an applied POST."""
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
        """Return the POST that was answered with this batch id, or None if it is not stored."""
        return self._batches.get(batch_id)

    def entries(self, after: int = 0, limit: int = 1000) -> list[TruthEntry]:
        """Return the next `limit` entries with `n` above `after`."""
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
        """Number of the oldest stored POST."""
        return self.posts - len(self._posts) + 1

    def _evict_oldest(self) -> None:
        """Remove the oldest POSTs above the limit; the newest POST always stays."""
        while self.kept_records > self._limit and len(self._posts) > 1:
            oldest = self._posts.pop(self._oldest)
            self.kept_records -= len(oldest.records)
            if oldest.batch_id is not None:
                del self._batches[oldest.batch_id]
            self._bodies[oldest.digest] -= 1
            if not self._bodies[oldest.digest]:
                del self._bodies[oldest.digest]


def digest_of(body: bytes) -> bytes:
    """Return a digest of a body, used to detect repeated bodies."""
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
