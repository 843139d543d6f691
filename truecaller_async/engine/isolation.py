"""Finding the bad record of a refused batch.

A batch that the server refuses for its content says little about which record is bad. By default its records are
pushed one by one through the real-time call, which names the field and the reason and delivers the good ones at once
(`isolate="realtime"`); an account without that call is noticed by its 403, and the batch is halved instead. Halving
(`"bisect"`) costs batch requests, so it ends after 64 of them. Twenty refusals in a row for one reason mean that the
rest is no better: it fails with the reason of the batch. A refusal that names no field and is not the batch's own
speaks of the receiver ("Not a Truecaller user"), and says nothing about the rest.
"""

from __future__ import annotations

import attrs

from truecaller_async.engine.run import Isolation, Run
from truecaller_async.errors import APIStatusError, TruecallerError
from truecaller_async.models import BatchPlanned, Outcome
from truecaller_async.planning.outgoing_batch import OutgoingBatch
from truecaller_async.planning.pair_order import PairOrder
from truecaller_async.planning.stored_records import pack_records

BISECT_POSTS_MAX = 64
STREAK_MAX = 20


@attrs.frozen
class BatchRejection:
    """What the server said of a whole batch."""

    reason: str
    field: str | None
    error: TruecallerError

    @property
    def is_for_size(self) -> bool:
        """Whether the batch was too large, and no record bad."""
        return isinstance(self.error, APIStatusError) and self.error.status == 413


async def isolate(run: Run, batch: OutgoingBatch, refusal: BatchRejection) -> None:
    """A batch was refused: split it, or fail it."""
    how = run.options.isolate
    if refusal.is_for_size or batch.root_batch is not None or (how == "realtime" and not run.realtime_allowed):
        how = "bisect"
    alone = len(batch) == 1 and (batch.root_batch is not None or how != "realtime")
    if how == "none" or alone:
        await _fail(run, batch, refusal.reason, refusal.field)
        if batch.root_batch is None:
            run.count_full_rejection(refusal.reason, refusal.error)
        return
    if not run.running and not refusal.is_for_size:  # that it was for size, the journal remembers by the halves only
        await run.release_pairs(batch)
        await run.settle_unsent([batch])
        return
    isolation = _isolation_of(run, batch, refusal)
    if how == "realtime":
        await _split(run, batch, [batch.part(run.chunker.next_seq(), i, i + 1, "push") for i in range(len(batch))])
    else:
        await _halve(run, batch, isolation)


async def isolated_push_refused(run: Run, batch: OutgoingBatch, reason: str, field: str | None) -> None:
    """A single record was refused: it is the bad one, or one of them."""
    isolation = run.isolations.get(batch.root_batch) if batch.root_batch is not None else None
    await _end(run, batch, Outcome.FAILED, reason, field)
    if isolation is None or isolation.closed:
        return
    if field is None and reason != isolation.reason:
        isolation.streak = 0
        return
    isolation.streak = isolation.streak + 1 if reason == isolation.last else 1
    isolation.last = reason
    if isolation.streak >= STREAK_MAX:
        isolation.closed = True
        run.count_full_rejection(isolation.reason, isolation.error)
        for waiting in run.queue.remove_pushes(isolation.root.seq):
            await _fail(run, waiting, isolation.reason, isolation.field)


async def switch_to_bisect(run: Run, batch: OutgoingBatch) -> None:
    """The account may not push in real time: the single records of this batch are sought by halving."""
    root = batch.root_batch if batch.root_batch is not None else batch.seq
    rest = _not_in_flight(run, batch, root)
    rest.sort(key=lambda single: single.rows[0])
    whole = OutgoingBatch(
        seq=run.chunker.next_seq(),
        rows=[single.rows[0] for single in rest],
        originals=[single.originals[0] for single in rest],
        wire_records=[single.wire_records[0] for single in rest],
        expires_ms=min(single.expires_ms for single in rest),
        root_batch=root,
        maybe_received=max(single.maybe_received for single in rest),
        lost_answers=max(single.lost_answers for single in rest),
        possibly_duplicated=any(single.possibly_duplicated for single in rest),
    )
    run.realtime_allowed = False
    for single in rest:
        run.queue.split(single.seq, [whole.seq])
    payload = pack_records(whole.originals) if run.stores_records else None
    planned = await run.append(
        *(BatchPlanned(whole.seq, tuple(single.rows), single.seq, payload=payload) for single in rest)
    )
    isolation = run.isolations.get(root)
    if not planned:
        await run.settle_unsent([whole])
    elif isolation is None or len(whole) == 1 or 2 * len(whole) <= isolation.size:
        if isolation is not None:
            isolation.posts += 1
        await run.requeue(whole)  # a small part is good as a rule, and goes out as it is
    else:
        await _halve(run, whole, isolation)


def _not_in_flight(run: Run, batch: OutgoingBatch, root: int) -> list[OutgoingBatch]:
    """The single records that can be sought together: this one, and those that come after none that is in flight."""
    together = {batch.seq: batch}
    for single in sorted(run.queue.remove_pushes(root), key=lambda single: single.seq):
        if single.blocked_by <= together.keys():
            together[single.seq] = single
        else:
            run.queue.add(single, run.now())
    return list(together.values())


def keep_order(parts: list[OutgoingBatch]) -> None:
    """Parts of one batch go out at the same time, but for those that hold later records of the same pairs."""
    order = PairOrder()
    for part in parts:
        part.blocked_by = order.add(part)


def _isolation_of(run: Run, batch: OutgoingBatch, refusal: BatchRejection) -> Isolation:
    root = batch.seq if batch.root_batch is None else batch.root_batch
    if root not in run.isolations:
        size = len(batch)
        run.isolations[root] = Isolation(batch, refusal.reason, refusal.field, size, size, refusal.error)
    return run.isolations[root]


async def _halve(run: Run, batch: OutgoingBatch, isolation: Isolation) -> None:
    if isolation.posts >= BISECT_POSTS_MAX:
        await _fail(run, batch, f"not isolated: {isolation.reason}", isolation.field)
        return
    isolation.posts += 2
    middle = len(batch) // 2
    cuts = ((0, middle), (middle, len(batch)))
    await _split(run, batch, [batch.part(run.chunker.next_seq(), start, stop, "submit") for start, stop in cuts])


async def _split(run: Run, batch: OutgoingBatch, parts: list[OutgoingBatch]) -> None:
    keep_order(parts)
    run.queue.split(batch.seq, [part.seq for part in parts])
    planned = await run.append(*(_plan_of(run, part, batch.seq) for part in parts))
    for part in parts:
        part.lost_answers = batch.lost_answers
        if planned:
            await run.requeue(part)
        else:
            await run.settle_unsent([part])


def _plan_of(run: Run, part: OutgoingBatch, parent: int) -> BatchPlanned:
    return BatchPlanned(
        part.seq, tuple(part.rows), parent, part.call, pack_records(part.originals) if run.stores_records else None
    )


async def _fail(run: Run, batch: OutgoingBatch, reason: str, field: str | None) -> None:
    """The records share the fate of their batch; where an answer was lost before, one of them may have been applied."""
    if batch.lost_answers:
        reason = f"an answer was lost, and sent again it was refused: {reason}"
        await _end(run, batch, Outcome.UNKNOWN, reason, field)
    else:
        await _end(run, batch, Outcome.FAILED, reason, field)


async def _end(run: Run, batch: OutgoingBatch, outcome: Outcome, reason: str, field: str | None) -> None:
    results = run.results(batch, range(len(batch)), outcome, reason, field)
    if batch.root_batch in run.isolations:
        run.isolations[batch.root_batch].refused += len(batch)
    await run.release_pairs(batch)
    await run.record_results(results, batch.seq)
