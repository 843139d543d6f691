"""Decide how the bad records of a rejected batch are found.

A batch rejected for its content rarely says which record is bad.

Algorithm:
    - `isolate="realtime"` (default): push the records one by one. This names the field and the reason, and delivers
      the good records at once. After a 403 (no real-time call) the queued single records become one batch again.
    - `isolate="bisect"`: halve the batch and send the halves, with at most 64 batch requests.
    - `isolate="none"`: all records fail with the reason of the batch.
    - 20 single records rejected in a row for the same reason end the search (`Isolation.record_push_rejected`).
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

import attrs

from truecaller_async.campaign.core.batch import CampaignBatch, Isolation
from truecaller_async.campaign.core.batch_content import BatchContent
from truecaller_async.campaign.core.pair_order import PairOrder

BISECT_POSTS_MAX = 64
"""Batch requests that halving one rejected batch may cost."""
NOT_FOUND_REASON = f"the bad record was not found within {BISECT_POSTS_MAX} requests; the batch was rejected"


class Method(Enum):
    """Define what follows from a rejection."""

    SINGLES = "singles"
    """Push the records one by one."""
    HALVES = "halves"
    """Send the two halves."""
    WHOLE = "whole"
    """Send the batch again as it is."""
    FAIL = "fail"
    """All records fail with the reason of the rejection."""
    FAIL_NOT_FOUND = "fail_not_found"
    """All records fail, because too many requests were spent on the search."""
    STOP = "stop"
    """The run has stopped: a later run searches."""


@attrs.frozen
class SearchSettings:
    """Facts that decide about the method, besides the batch."""

    isolate: str
    """The option: "realtime", "bisect" or "none"."""
    realtime_allowed: bool
    """Whether the account may push single records."""
    is_running: bool
    """Whether new requests may be sent."""


def method_for(
    batch: CampaignBatch, isolation: Isolation | None, search: SearchSettings, *, is_too_large: bool
) -> Method:
    """Return what follows from the rejection of a batch.

    Args:
        batch: The rejected batch.
        isolation: The search of its root, None if there is none yet.
        search: The other facts.
        is_too_large: Whether it was rejected for its size (413), so that no record is bad.
    """
    isolate = search.isolate
    if is_too_large or batch.root_batch is not None or (isolate == "realtime" and not search.realtime_allowed):
        isolate = "bisect"
    is_indivisible = batch.open_count == 1 and (batch.root_batch is not None or isolate != "realtime")
    if isolate == "none" or is_indivisible:
        return Method.FAIL
    # A batch that is too large is split in a stopped run too: only its planned halves tell the next run the cause.
    if not search.is_running and not is_too_large:
        return Method.STOP
    return Method.SINGLES if isolate == "realtime" else _halves(isolation)


def method_for_merged(count: int, isolation: Isolation | None) -> Method:
    """Return how single records that became one batch of `count` records again are sent.

    A small part rarely contains the bad record, so it is sent unsplit.
    """
    if isolation is None or count == 1 or 2 * count <= isolation.size:
        return Method.WHOLE
    return _halves(isolation)


def _halves(isolation: Isolation | None) -> Method:
    spent = isolation is not None and isolation.posts >= BISECT_POSTS_MAX
    return Method.FAIL_NOT_FOUND if spent else Method.HALVES


def parts_of(content: BatchContent, method: Method) -> list[BatchContent]:
    """Return the contents of the parts: single records, or two halves."""
    size = len(content)
    middle = size // 2
    cuts = [(i, i + 1) for i in range(size)] if method is Method.SINGLES else [(0, middle), (middle, size)]
    return [content.at(range(start, stop)) for start, stop in cuts]


def order_of(parts: Sequence[tuple[int, BatchContent]]) -> dict[int, set[int]]:
    """Return which parts each part must wait for: those with earlier records of the same pairs."""
    order = PairOrder()
    return {seq: order.add(seq, content) for seq, content in parts}
