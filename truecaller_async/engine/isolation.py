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
from truecaller_async.models import Outcome, Planned
from truecaller_async.planning.draft import Draft
from truecaller_async.planning.pairs import PairOrder
from truecaller_async.planning.payload import packed

BISECT_POSTS_MAX = 64
STREAK_MAX = 20


@attrs.frozen
class Refusal:
    """What the server said of a whole batch."""

    reason: str
    field: str | None
    error: TruecallerError

    @property
    def is_for_size(self) -> bool:
        """Whether the batch was too large, and no record bad."""
        return isinstance(self.error, APIStatusError) and self.error.status == 413


async def isolate(run: Run, draft: Draft, refusal: Refusal) -> None:
    """A batch was refused: split it, or fail it."""
    how = run.options.isolate
    if refusal.is_for_size or draft.root is not None or (how == "realtime" and not run.may_push):
        how = "bisect"
    alone = len(draft) == 1 and (draft.root is not None or how != "realtime")
    if how == "none" or alone:
        await _fail(run, draft, refusal.reason, refusal.field)
        if draft.root is None:
            run.refused_throughout(refusal.reason, refusal.error)
        return
    if not run.running and not refusal.is_for_size:  # that it was for size, the journal remembers by the halves only
        await run.release(draft)
        await run.leave_unsent([draft])
        return
    isolation = _isolation_of(run, draft, refusal)
    if how == "realtime":
        await _split(run, draft, [draft.part(run.chunker.next_seq(), i, i + 1, "push") for i in range(len(draft))])
    else:
        await _halve(run, draft, isolation)


async def isolated_push_refused(run: Run, draft: Draft, reason: str, field: str | None) -> None:
    """A single record was refused: it is the bad one, or one of them."""
    isolation = run.isolations.get(draft.root) if draft.root is not None else None
    await _end(run, draft, Outcome.FAILED, reason, field)
    if isolation is None or isolation.closed:
        return
    if field is None and reason != isolation.reason:
        isolation.streak = 0
        return
    isolation.streak = isolation.streak + 1 if reason == isolation.last else 1
    isolation.last = reason
    if isolation.streak >= STREAK_MAX:
        isolation.closed = True
        run.refused_throughout(isolation.reason, isolation.error)
        for waiting in run.schedule.withdraw_pushes(isolation.root.seq):
            await _fail(run, waiting, isolation.reason, isolation.field)


async def switch_to_bisect(run: Run, draft: Draft) -> None:
    """The account may not push in real time: the single records of this batch are sought by halving."""
    root = draft.root if draft.root is not None else draft.seq
    rest = _not_in_flight(run, draft, root)
    rest.sort(key=lambda single: single.rows[0])
    whole = Draft(
        seq=run.chunker.next_seq(),
        rows=[single.rows[0] for single in rest],
        given=[single.given[0] for single in rest],
        records=[single.records[0] for single in rest],
        closes=min(single.closes for single in rest),
        root=root,
        sends=max(single.sends for single in rest),
        doubts=max(single.doubts for single in rest),
        resent=any(single.resent for single in rest),
    )
    run.may_push = False
    for single in rest:
        run.schedule.split(single.seq, [whole.seq])
    payload = packed(whole.given) if run.keeps_payloads else None
    planned = await run.write(*(Planned(whole.seq, tuple(single.rows), single.seq, payload=payload) for single in rest))
    isolation = run.isolations.get(root)
    if not planned:
        await run.leave_unsent([whole])
    elif isolation is None or len(whole) == 1 or 2 * len(whole) <= isolation.size:
        if isolation is not None:
            isolation.posts += 1
        await run.put_back(whole)  # a small part is good as a rule, and goes out as it is
    else:
        await _halve(run, whole, isolation)


def _not_in_flight(run: Run, draft: Draft, root: int) -> list[Draft]:
    """The single records that can be sought together: this one, and those that come after none that is in flight."""
    together = {draft.seq: draft}
    for single in sorted(run.schedule.withdraw_pushes(root), key=lambda single: single.seq):
        if single.after <= together.keys():
            together[single.seq] = single
        else:
            run.schedule.add(single, run.now())
    return list(together.values())


def keep_order(parts: list[Draft]) -> None:
    """Parts of one batch go out at the same time, but for those that hold later records of the same pairs."""
    order = PairOrder()
    for part in parts:
        part.after = order.enter(part)


def _isolation_of(run: Run, draft: Draft, refusal: Refusal) -> Isolation:
    root = draft.seq if draft.root is None else draft.root
    if root not in run.isolations:
        size = len(draft)
        run.isolations[root] = Isolation(draft, refusal.reason, refusal.field, size, size, refusal.error)
    return run.isolations[root]


async def _halve(run: Run, draft: Draft, isolation: Isolation) -> None:
    if isolation.posts >= BISECT_POSTS_MAX:
        await _fail(run, draft, f"not isolated: {isolation.reason}", isolation.field)
        return
    isolation.posts += 2
    middle = len(draft) // 2
    cuts = ((0, middle), (middle, len(draft)))
    await _split(run, draft, [draft.part(run.chunker.next_seq(), start, stop, "submit") for start, stop in cuts])


async def _split(run: Run, draft: Draft, parts: list[Draft]) -> None:
    keep_order(parts)
    run.schedule.split(draft.seq, [part.seq for part in parts])
    planned = await run.write(*(_plan_of(run, part, draft.seq) for part in parts))
    for part in parts:
        part.doubts = draft.doubts
        if planned:
            await run.put_back(part)
        else:
            await run.leave_unsent([part])


def _plan_of(run: Run, part: Draft, parent: int) -> Planned:
    return Planned(part.seq, tuple(part.rows), parent, part.via, packed(part.given) if run.keeps_payloads else None)


async def _fail(run: Run, draft: Draft, reason: str, field: str | None) -> None:
    """The records share the fate of their batch; where an answer was lost before, one of them may have been applied."""
    if draft.doubts:
        reason = f"an answer was lost, and sent again it was refused: {reason}"
        await _end(run, draft, Outcome.UNKNOWN, reason, field)
    else:
        await _end(run, draft, Outcome.FAILED, reason, field)


async def _end(run: Run, draft: Draft, outcome: Outcome, reason: str, field: str | None) -> None:
    results = run.results(draft, range(len(draft)), outcome, reason, field)
    if draft.root in run.isolations:
        run.isolations[draft.root].refused += len(draft)
    await run.release(draft)
    await run.settle(results, draft.seq)
