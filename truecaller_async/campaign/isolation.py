"""Find the bad records of a rejected batch.

A batch rejected for its content rarely says which record is bad.

Algorithm:
    - `isolate="realtime"` (default): push the records one by one. This names the field and the reason, and delivers
      the good records at once. After a 403 (no real-time call) the queued single records become one batch again.
    - `isolate="bisect"`: halve the batch and send the halves, with at most 64 batch requests.
    - `isolate="none"`: all records fail with the reason of the batch.

Failure modes:
    - 20 single records rejected in a row for the same reason: the remaining records fail with the reason of the batch.
    - A rejection without a field, with another reason than the batch, concerns the receiver ("Not a Truecaller user").
      It says nothing about the other records and resets the count.
"""

from __future__ import annotations

import attrs

from truecaller_async.campaign.core.outgoing_batch import OutgoingBatch
from truecaller_async.campaign.core.pair_order import PairOrder
from truecaller_async.campaign.core.stored_records import pack_records
from truecaller_async.campaign.run import Isolation, Run
from truecaller_async.errors import APIStatusError, TruecallerError
from truecaller_async.models import BatchPlanned, Outcome

BISECT_POSTS_MAX = 64
"""Batch requests that halving one rejected batch may cost."""
NOT_FOUND_REASON = f"the bad record was not found within {BISECT_POSTS_MAX} requests; the batch was rejected"
SAME_REJECTION_STREAK_MAX = 20
"""Single records rejected in a row for one reason that end the search."""


@attrs.frozen
class BatchRejection:
    """Answer of the server to a rejected batch."""

    reason: str
    field: str | None
    error: TruecallerError

    @property
    def is_too_large(self) -> bool:
        """Return whether the batch was rejected for its size (413), so that no record is bad."""
        return isinstance(self.error, APIStatusError) and self.error.status == 413


async def isolate(run: Run, batch: OutgoingBatch, rejection: BatchRejection) -> None:
    """Split a rejected batch to find its bad records, or fail all its records."""
    method = run.options.isolate
    if rejection.is_too_large or batch.root_batch is not None or (method == "realtime" and not run.realtime_allowed):
        method = "bisect"
    is_indivisible = len(batch) == 1 and (batch.root_batch is not None or method != "realtime")
    if method == "none" or is_indivisible:
        await _fail_batch(run, batch, rejection.reason, rejection.field)
        if batch.root_batch is None:
            run.count_full_rejection(rejection.reason, rejection.error)
        return
    # A batch that is too large is split in a stopped run too: only its planned halves tell the next run the cause.
    if not run.running and not rejection.is_too_large:
        await run.release_pairs(batch)
        await run.record_stopped([batch])
        return
    isolation = _isolation_of(run, batch, rejection)
    if method == "realtime":
        await _split(run, batch, [batch.part(run.chunker.next_seq(), i, i + 1, "push") for i in range(len(batch))])
    else:
        await _halve(run, batch, isolation)


async def handle_rejected_push(run: Run, batch: OutgoingBatch, reason: str, field: str | None) -> None:
    """Record a rejected single record, and end the search after too many equal rejections."""
    isolation = run.isolations.get(batch.root_batch) if batch.root_batch is not None else None
    await _record_outcome(run, batch, Outcome.FAILED, reason, field)
    if isolation is None or isolation.ended_early:
        return
    if field is None and reason != isolation.reason:
        isolation.streak = 0
        return
    isolation.streak = isolation.streak + 1 if reason == isolation.last_reason else 1
    isolation.last_reason = reason
    if isolation.streak >= SAME_REJECTION_STREAK_MAX:
        isolation.ended_early = True
        run.count_full_rejection(isolation.reason, isolation.error)
        for queued in run.queue.remove_pushes(isolation.root.seq):
            await _fail_batch(run, queued, isolation.reason, isolation.field)


async def switch_to_bisect(run: Run, batch: OutgoingBatch) -> None:
    """Merge the queued single records of a batch into one batch after a 403.

    The merged batch is sent unsplit if it has at most half of the records of the rejected batch, otherwise in halves.
    """
    root = batch.root_batch if batch.root_batch is not None else batch.seq
    singles = _take_queued_pushes(run, batch, root)
    singles.sort(key=lambda single: single.rows[0])
    merged = OutgoingBatch(
        seq=run.chunker.next_seq(),
        rows=[single.rows[0] for single in singles],
        originals=[single.originals[0] for single in singles],
        wire_records=[single.wire_records[0] for single in singles],
        expires_ms=min(single.expires_ms for single in singles),
        root_batch=root,
        maybe_received=max(single.maybe_received for single in singles),
        lost_answers=max(single.lost_answers for single in singles),
        possibly_duplicated=any(single.possibly_duplicated for single in singles),
    )
    run.realtime_allowed = False
    for single in singles:
        run.queue.split(single.seq, [merged.seq])
    payload = pack_records(merged.originals) if run.stores_records else None
    planned = await run.append(
        *(BatchPlanned(merged.seq, tuple(single.rows), single.seq, payload=payload) for single in singles)
    )
    isolation = run.isolations.get(root)
    if not planned:
        await run.record_stopped([merged])
    elif isolation is None or len(merged) == 1 or 2 * len(merged) <= isolation.size:
        if isolation is not None:
            isolation.posts += 1
        await run.requeue(merged)  # a small part rarely contains the bad record, so it is sent unsplit
    else:
        await _halve(run, merged, isolation)


def _take_queued_pushes(run: Run, batch: OutgoingBatch, root: int) -> list[OutgoingBatch]:
    """Remove and return this record and the queued records of its batch that wait for no record in flight."""
    taken = {batch.seq: batch}
    for single in sorted(run.queue.remove_pushes(root), key=lambda single: single.seq):
        if single.blocked_by <= taken.keys():
            taken[single.seq] = single
        else:
            run.queue.add(single, run.now())
    return list(taken.values())


def keep_order(parts: list[OutgoingBatch]) -> None:
    """Make each part of a batch wait only for parts with earlier records of the same pairs."""
    order = PairOrder()
    for part in parts:
        part.blocked_by = order.add(part)


def _isolation_of(run: Run, batch: OutgoingBatch, rejection: BatchRejection) -> Isolation:
    root = batch.seq if batch.root_batch is None else batch.root_batch
    if root not in run.isolations:
        size = len(batch)
        run.isolations[root] = Isolation(batch, rejection.reason, rejection.field, size, size, rejection.error)
    return run.isolations[root]


async def _halve(run: Run, batch: OutgoingBatch, isolation: Isolation) -> None:
    if isolation.posts >= BISECT_POSTS_MAX:
        await _fail_batch(run, batch, f"{NOT_FOUND_REASON}: {isolation.reason}", isolation.field)
        return
    isolation.posts += 2
    middle = len(batch) // 2
    cuts = ((0, middle), (middle, len(batch)))
    await _split(run, batch, [batch.part(run.chunker.next_seq(), start, stop, "submit") for start, stop in cuts])


async def _split(run: Run, batch: OutgoingBatch, parts: list[OutgoingBatch]) -> None:
    keep_order(parts)
    run.queue.split(batch.seq, [part.seq for part in parts])
    planned = await run.append(*(_planned_entry(run, part, batch.seq) for part in parts))
    for part in parts:
        part.lost_answers = batch.lost_answers
        if planned:
            await run.requeue(part)
        else:
            await run.record_stopped([part])


def _planned_entry(run: Run, part: OutgoingBatch, parent: int) -> BatchPlanned:
    return BatchPlanned(
        part.seq, tuple(part.rows), parent, part.call, pack_records(part.originals) if run.stores_records else None
    )


async def _fail_batch(run: Run, batch: OutgoingBatch, reason: str, field: str | None) -> None:
    """Record the batch as failed, or as unknown if an answer was lost before."""
    if batch.lost_answers:
        reason = f"an answer was lost, and the resent batch was rejected: {reason}"
        await _record_outcome(run, batch, Outcome.UNKNOWN, reason, field)
    else:
        await _record_outcome(run, batch, Outcome.FAILED, reason, field)


async def _record_outcome(run: Run, batch: OutgoingBatch, outcome: Outcome, reason: str, field: str | None) -> None:
    results = run.results(batch, range(len(batch)), outcome, reason, field)
    if batch.root_batch in run.isolations:
        run.isolations[batch.root_batch].rejected += len(batch)
    await run.release_pairs(batch)
    await run.record_results(results, batch.seq)
