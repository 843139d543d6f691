"""Finding the bad record of a refused batch.

A batch that the server refuses for its content says little about which record is bad. By default its records are
pushed one by one through the real-time call, which names the field and the reason and delivers the good ones at once
(`isolate="realtime"`); an account without that call is noticed by its 403, and the batch is halved instead. Halving
(`"bisect"`) costs batch requests, so it ends after 64 of them. Twenty refusals in a row for one reason mean that the
rest is no better: it fails with the reason of the batch. A refusal that names no field and is not the batch's own
speaks of the receiver ("Not a Truecaller user"), and says nothing about the rest.
"""

from __future__ import annotations

from truecaller_async.engine.run import Isolation, Run
from truecaller_async.models import Outcome, Planned
from truecaller_async.planning.draft import Draft

BISECT_POSTS_MAX = 64
STREAK_MAX = 20


async def isolate(run: Run, draft: Draft, reason: str, field: str | None, *, halve: bool = False) -> None:
    """A batch was refused: split it, or fail it. `halve` where it was refused for its size."""
    how = run.options.isolate
    if halve or draft.root is not None or (how == "realtime" and not run.may_push):
        how = "bisect"
    alone = len(draft) == 1 and (draft.root is not None or how != "realtime")
    if how == "none" or alone or not run.running:
        await _fail(run, draft, reason, field)
        return
    isolation = _isolation_of(run, draft, reason, field)
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
        for waiting in run.schedule.withdraw_pushes(isolation.root.seq):
            await _fail(run, waiting, isolation.reason, isolation.field)


async def switch_to_bisect(run: Run, draft: Draft) -> None:
    """The account may not push in real time: the single records of this batch are sought by halving."""
    root = draft.root if draft.root is not None else draft.seq
    rest = [draft, *run.schedule.withdraw_pushes(root)]
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
    planned = await run.write(*(Planned(whole.seq, tuple(single.rows), single.seq) for single in rest))
    isolation = run.isolations.get(root)
    if not planned:
        await run.leave_unsent([whole])
    elif isolation is None or len(whole) == 1:
        await run.put_back(whole)
    else:
        await _halve(run, whole, isolation)


def _isolation_of(run: Run, draft: Draft, reason: str, field: str | None) -> Isolation:
    root = draft.seq if draft.root is None else draft.root
    if root not in run.isolations:
        run.isolations[root] = Isolation(draft, reason, field, left=len(draft))
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
    planned = await run.write(*(Planned(part.seq, tuple(part.rows), draft.seq) for part in parts))
    for part in parts:
        part.doubts = draft.doubts
        if planned:
            await run.put_back(part)
        else:
            await run.leave_unsent([part])


async def _fail(run: Run, draft: Draft, reason: str, field: str | None) -> None:
    """The records share the fate of their batch; where an answer was lost before, one of them may have been applied."""
    if draft.doubts:
        await _end(run, draft, Outcome.UNKNOWN, f"an answer was lost, and sent again it was refused: {reason}", field)
    else:
        await _end(run, draft, Outcome.FAILED, reason, field)


async def _end(run: Run, draft: Draft, outcome: Outcome, reason: str, field: str | None) -> None:
    results = run.results(draft, range(len(draft)), outcome, reason, field)
    await run.release(draft)
    await run.settle(results, draft.seq)
