"""Taking up again what an earlier run left open.

The journal says in which state each batch was left, and the state says what may be done: what was planned is sent, what
was accepted is asked for, what was refused is isolated, and what may have been applied without our knowing goes by the
caller's policy. The order of pairs is entered first, batch by batch, so that what waits for another waits again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from truecaller_async.engine.isolation import Refusal, isolate, keep_order
from truecaller_async.engine.recall import Recalled
from truecaller_async.engine.run import Accepted, Isolation, Run
from truecaller_async.engine.sender import Sender
from truecaller_async.errors import BadRequest
from truecaller_async.models import CallRecord, Outcome
from truecaller_async.planning.batch_state import Event, State
from truecaller_async.planning.chunker import marked
from truecaller_async.planning.doubts import may_go_again
from truecaller_async.planning.draft import Draft, closing
from truecaller_async.planning.polls import PollPlan
from truecaller_async.planning.preflight import canonical
from truecaller_async.planning.replay import OpenBatch

OUTDATED = "a later row of the same caller and receiver was read after it"
ANSWER_LOST = "the answer was lost"
WITHHELD = (
    f"sent, and {ANSWER_LOST}; not sent again, because a later row may be of the same caller and receiver, and rows "
    "that were read before cannot be seen again: give the same source"
)
TO_PLANNED = {State.STOPPED: Event.RESUME, State.HELD: Event.RESEND}
LET_GO = (State.ACCEPTED, State.HELD, State.UNTRACKED)
"""States in which later batches of the same pairs need not wait."""


class Resumption:
    """What one run takes up from another. It is used once, before anything else of the run begins."""

    def __init__(self, run: Run, sender: Sender, recalled: Recalled) -> None:
        self._run = run
        self._sender = sender
        self._recalled = recalled
        self._batches = run.standing.open
        self._places: dict[int, dict[int, int]] = {}
        self._drafts = {batch.seq: self._draft(batch) for batch in self._batches}

    async def take_up(self) -> None:
        """Give every open batch back to the run.

        First those that wait to be sent, and what they wait for; then those that may be settled or split at once,
        because that is told to who waits already.
        """
        self._enter_pairs()
        waiting = [batch for batch in self._batches if self._is_to_be_sent(batch)]
        others = [batch for batch in self._batches if not self._is_to_be_sent(batch)]
        for batch in waiting:
            await self._send_again(batch, self._drafts[batch.seq])
        for batch in others:
            draft = self._drafts[batch.seq]
            if batch.seq in self._recalled.withheld:
                await self._leave(draft, WITHHELD)
            else:
                await self._go_on(batch, draft)

    def _draft(self, batch: OpenBatch) -> Draft:
        rows = batch.open
        if batch.state is State.ACCEPTED:
            rows = [row for row in batch.planned if row not in batch.left_out]
        given = [self._recalled.given[row] for row in rows]
        records = self._as_sent(batch, rows, given)
        return Draft(
            batch.seq,
            rows,
            given,
            records,
            closing(records),
            via=batch.via,
            root=batch.root,
            state=batch.state,
            tries=batch.tries,
            sends=batch.sends,
            doubts=batch.doubts,
            resent=batch.resent,
            again=batch.doubts > 0,
        )

    def _as_sent(self, batch: OpenBatch, rows: Iterable[int], given: Iterable[CallRecord]) -> list[CallRecord]:
        """The records in the form in which they are sent: with a watermark, their place in their first batch."""
        records = [canonical(record) for record in given]
        if self._run.options.correlate != "watermark":
            return records
        first = batch if batch.root is None else self._run.standing.batch(batch.root)
        if first.seq not in self._places:
            self._places[first.seq] = {row: place for place, row in enumerate(first.planned)}
        places = self._places[first.seq]
        return [marked(record, places[row]) for row, record in zip(rows, records, strict=True)]

    def _enter_pairs(self) -> None:
        """In the order of the batches as they were read; the parts of a refused one stand where the whole stood."""
        waiting: defaultdict[int, list[OpenBatch]] = defaultdict(list)
        for batch in self._batches:
            if not self._is_let_go(batch):
                waiting[batch.root or batch.seq].append(batch)
        for seq in sorted(waiting):
            if waiting[seq][0].root is not None:
                parts = [self._drafts[batch.seq] for batch in waiting[seq]]
                earlier = self._run.pairs.enter(self._isolation(seq, parts).root)
                for batch in filter(self._is_to_be_sent, waiting[seq]):
                    self._drafts[batch.seq].after |= earlier
            else:
                draft = self._drafts[seq]
                draft.after = self._run.pairs.enter(draft)

    def _is_to_be_sent(self, batch: OpenBatch) -> bool:
        if batch.seq in self._recalled.withheld:
            return False
        return batch.state in (State.PLANNED, State.STOPPED) or may_go_again(batch, self._run.options)

    def _is_let_go(self, batch: OpenBatch) -> bool:
        if batch.seq in self._recalled.withheld:
            return True
        return batch.state in LET_GO and not may_go_again(batch, self._run.options)

    def _isolation(self, root: int, parts: list[Draft]) -> Isolation:
        """The search for a bad record among these parts of a refused batch goes on."""
        parts.sort(key=lambda part: part.rows[0])
        keep_order(parts)
        first = self._run.standing.batch(root)
        whole = Draft(
            root,
            [row for part in parts for row in part.rows],
            [record for part in parts for record in part.given],
            [record for part in parts for record in part.records],
            min(part.closes for part in parts),
        )
        said = _refusal_of(first)
        isolation = Isolation(whole, said.reason, said.field, len(whole), len(first.planned), said.error)
        self._run.isolations[root] = isolation
        return isolation

    async def _send_again(self, batch: OpenBatch, draft: Draft) -> None:
        """What was let go may have been overtaken: then its records are not sent. One that is empty sends nothing."""
        run = self._run
        outdated = [place for place, row in enumerate(draft.rows) if row in self._recalled.outdated]
        taken = draft.take_out(outdated)
        await run.settle(run.taken_out(draft, taken, Outcome.UNKNOWN, OUTDATED), draft.seq)
        event = TO_PLANNED.get(batch.state)
        if event is not None:
            draft.happen(event)
        await run.put_back(draft)

    async def _go_on(self, batch: OpenBatch, draft: Draft) -> None:
        run = self._run
        match batch.state:
            case State.IN_DOUBT:
                await self._sender.in_doubt(draft, ANSWER_LOST)
            case State.ACCEPTED if batch.batch_id is not None:
                self._ask_again(batch, draft, batch.batch_id)
            case State.ACCEPTED:
                await self._settle(draft, Outcome.DELIVERED, None)
            case State.REFUSED:
                await isolate(run, draft, _refusal_of(batch))
            case State.UNTRACKED:
                await self._settle(draft, Outcome.UNKNOWN, "taken by the server, but its batch id is not known")
            case _:
                await self._leave(draft, f"sent, and {ANSWER_LOST}")

    def _ask_again(self, batch: OpenBatch, draft: Draft, batch_id: str) -> None:
        run = self._run
        now = run.now()
        age = max(0.0, run.core.clock.wall() - (batch.accepted_at or 0.0))
        plan = PollPlan(run.options.poll, now - age, run.first_poll.delay)
        still_open = {place for place, row in enumerate(draft.rows) if row not in batch.closed}
        run.accepted[draft.seq] = Accepted(draft, batch_id, plan, still_open)
        run.batch_ids.add(batch_id)
        run.schedule.poll(draft.seq, now)

    async def _leave(self, draft: Draft, reason: str) -> None:
        """Nothing more is done in this run."""
        results = self._run.results(draft, range(len(draft)), Outcome.UNKNOWN, reason)
        await self._run.settle(results, draft.seq, final=False)

    async def _settle(self, draft: Draft, outcome: Outcome, reason: str | None) -> None:
        await self._run.settle(self._run.results(draft, range(len(draft)), outcome, reason), draft.seq)


def _refusal_of(batch: OpenBatch) -> Refusal:
    """What the server said of a batch, as the journal has it."""
    reason = batch.reason or "refused without a reason"
    return Refusal(reason, batch.field, BadRequest(400, message=reason, field=batch.field))
