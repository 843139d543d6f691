"""Check that each open batch of a run is in exactly one place, and that nothing it waits for is over.

A batch that is in no place, or that waits for something that has happened, would hang: no timer looks for it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from truecaller_async import CampaignStream
from truecaller_async.campaign.core.batch import WAITING_STATES
from truecaller_async.campaign.core.batch_state import BatchState
from truecaller_async.campaign.core.work_queue import Place, QueuedBatch, WorkQueue
from truecaller_async.campaign.run import Run

WAITING_PLACES = (Place.BLOCKED, Place.DELAYED, Place.READY)
PLACES: dict[BatchState, tuple[Place, ...]] = {
    **dict.fromkeys(WAITING_STATES, WAITING_PLACES),
    BatchState.IN_FLIGHT: (Place.IN_FLIGHT,),
    BatchState.ACCEPTED: (Place.POLLING, Place.POLLED),
}
"""Possible places by state. A batch in another state is open only within a transaction."""

WITH_A_WORKER = (Place.IN_FLIGHT, Place.POLLED)


def misplaced(stream: CampaignStream) -> Iterator[str]:
    """Yield what is wrong with the places of the open batches. Call it between two transactions."""
    run, dispatcher = stream._run, stream._dispatcher
    if run is None or dispatcher is None:
        return
    queue = run.queue
    open_batches = {batch.seq: batch for batch in run.state.open if not batch.released}
    if missing := sorted(open_batches.keys() - queue._items.keys()):
        yield f"batches {missing} are open, and in no place"
    if left := sorted(queue._items.keys() - open_batches.keys()):
        yield f"batches {left} are in the queue, and not open"
    heads = _heap_entries(queue)
    for seq in open_batches.keys() & queue._items.keys():
        item = queue._items[seq]
        if item.place not in PLACES.get(item.batch.state, ()):
            yield f"batch {seq} is {item.batch.state}, and its place is {item.place.name}"
        yield from _heap_errors(item, heads[seq])
        if item.place is Place.BLOCKED:
            yield from _blocked_errors(run, item)
    yield from _late_work(queue, run.now())
    counts = Counter(item.place for item in queue._items.values())
    known = {Place(place): count for place, count in enumerate(queue._counts) if count}
    if known != counts:
        yield f"the queue counts {known}, and there are {dict(counts)}"
    with_worker = sum(counts[place] for place in WITH_A_WORKER)
    if with_worker > dispatcher._busy:
        yield f"{with_worker} batches are with a worker, and {dispatcher._busy} workers are busy"


def left_over(stream: CampaignStream) -> Iterator[str]:
    """Yield what a run that is done has left open."""
    run, dispatcher = stream._run, stream._dispatcher
    if run is None or dispatcher is None:
        return
    if left := [batch.seq for batch in run.state.open if not batch.released]:
        yield f"batches {left} are open after the end, and not released"
    if run.queue._items:
        yield f"batches {sorted(run.queue._items)} are in the queue after the end"
    if run.progress.swept:
        yield f"the sweep found rows without a result: {dict(run.progress.swept)}"
    if dispatcher._busy:
        yield f"{dispatcher._busy} workers are busy after the end"
    if run.recorder.unconfirmed_count:
        yield f"{run.recorder.unconfirmed_count} transactions are not confirmed after the end"


def _heap_entries(queue: WorkQueue) -> dict[int, Counter[str]]:
    """Return in which heaps each batch has an entry that is valid."""
    found: dict[int, Counter[str]] = {seq: Counter() for seq in queue._items}
    named = [("delayed", queue._delayed), *queue._first_attempts.items(), *queue._retries.items()]
    for name, heap in named:
        for entry in heap:
            item = entry[4]
            if entry[3] == item.version and item.batch.seq in found:
                found[item.batch.seq][name] += 1
    return found


def _late_work(queue: WorkQueue, now: float) -> Iterator[str]:
    """Yield what the queue would find too late."""
    heaps = (queue._delayed, queue._first_attempts["status"], queue._retries["status"])
    due = [entry[0] for heap in heaps for entry in heap if entry[3] == entry[4].version]
    due += [now for item in queue._items.values() if item.place is Place.READY]
    if due and queue.ready_at > max(min(due), now):
        yield f"the queue expects work at {queue.ready_at}, and there is some at {min(due)}"


def _heap_errors(item: QueuedBatch, found: Counter[str]) -> Iterator[str]:
    names = {Place.DELAYED: "delayed", Place.POLLING: "status", Place.READY: item.batch.call}
    expected = Counter([names[item.place]] if item.place in names else [])
    if found != expected:
        yield f"batch {item.batch.seq} is {item.place.name}, and in the heaps {dict(found)}"


def _blocked_errors(run: Run, item: QueuedBatch) -> Iterator[str]:
    if not item.blocked_by:
        yield f"batch {item.batch.seq} is blocked by nothing"
    for seq in item.blocked_by:
        blocker = run.state.batches.get(seq)
        if blocker is None or blocker.is_settled:
            yield f"batch {item.batch.seq} waits for batch {seq}, which is settled"
        elif item.batch.seq not in run.queue._waiting_for.get(seq, ()):
            yield f"batch {item.batch.seq} waits for batch {seq}, and is not woken by it"
