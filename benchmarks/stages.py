"""CPU time of a record: what `push_many` does with a batch, step by step, and the HTTP around it.

Each step runs for `BATCHES` batches as in the engine, with `APART` batches between sending and answer, in one process
and without HTTP. HTTP is then measured without the steps, with raw aiohttp and with the transport, against the minimal
server. The rest of the total is the engine's work per batch (loop iterations, tasks, permits, timers) and cache misses:
a record that is used again after thousands of others is in no cache.
"""

from __future__ import annotations

import asyncio
import gc
from collections import defaultdict, deque
from collections.abc import Callable, Coroutine
from concurrent.futures import ProcessPoolExecutor
from statistics import median
from time import process_time
from typing import Any

from benchmarks import Figure, workload
from benchmarks.cases import POLL, TOKEN, Target
from benchmarks.minimal_server import SPAWN, Answers, pin_to_core
from benchmarks.peers.limit import post_all
from benchmarks.speed import warm_server
from truecaller_async import CallRecord, CampaignOptions, Outcome
from truecaller_async.campaign.core.batch_content import BatchContent
from truecaller_async.campaign.core.pair_order import PairOrder
from truecaller_async.campaign.core.results import settled_entries
from truecaller_async.campaign.rows.correlate import mirrors
from truecaller_async.campaign.rows.dedupe import Dedupe
from truecaller_async.models import BatchResults, RecordColumns, Request, Secret
from truecaller_async.options import BATCH_MAX, Timeouts
from truecaller_async.protocol.batch_status import ExpectedBatch
from truecaller_async.protocol.request_common import WRITE_HEADERS
from truecaller_async.protocol.requests import status_request, submit_request
from truecaller_async.protocol.status_summary import read_summaries
from truecaller_async.transport import AiohttpTransport
from truecaller_async.validation.batch_validation import all_valid

BATCHES = 200
APART = 20
IN_FLIGHT = 16
ROUNDS = 5
PATH = f"/v2/clients/{workload.ACCOUNT}/dynamic_call_records"


class Steps:
    """The steps of some batches, with the CPU time of each step."""

    def __init__(self, records: list[CallRecord], start: int) -> None:
        self.spent: defaultdict[str, float] = defaultdict(float)
        self._records = records
        self._now = start + 1
        self._answers = Answers()
        self._dedupe = Dedupe("window")
        self._pairs = PairOrder()
        self._away: deque[tuple[int, BatchContent, str]] = deque()
        self.delivered = 0

    def run(self) -> None:
        """Process all batches up to their results."""
        for seq in range(len(self._records) // BATCH_MAX):
            self._send(seq)
            if len(self._away) > APART:
                self._finish(*self._away.popleft())
        while self._away:
            self._finish(*self._away.popleft())

    def _send(self, seq: int) -> None:
        first = seq * BATCH_MAX
        records = self._records[first : first + BATCH_MAX]
        began = process_time()
        columns = RecordColumns.of(records)
        began = self._spent("columns", began)
        is_fit = all_valid(columns, self._now)
        began = self._spent("validation", began)
        is_new = self._dedupe.add_if_all_new(columns)
        began = self._spent("equal rows", began)
        assert is_fit
        assert is_new
        content = BatchContent(range(first, first + BATCH_MAX), records, records, min(columns.ends_at), columns=columns)
        self._pairs.add(seq, content)
        began = self._spent("order of pairs", began)
        body = submit_request("v2", workload.ACCOUNT, columns).body or b""
        began = self._spent("encode", began)
        self._pairs.remove(seq)
        self._spent("order of pairs", began)
        self._away.append((seq, content, self._answers.submit(body)[13:-2].decode()))

    def _finish(self, seq: int, content: BatchContent, batch_id: str) -> None:
        body = self._answers.status(batch_id.encode())
        began = process_time()
        rows = read_summaries(body, ExpectedBatch(batch_id, workload.ACCOUNT))
        began = self._spent("decode", began)
        assert rows is not None
        is_mirror = mirrors(content.columns, rows, is_distinct=content.is_distinct)
        began = self._spent("correlation", began)
        assert is_mirror
        results = _results(content, batch_id, [row.id for row in rows])
        settled_entries(results, seq)
        began = self._spent("results by field", began)
        for result in results:
            self.delivered += result.outcome is Outcome.DELIVERED
        self._spent("a RecordResult each", began)

    def _spent(self, step: str, began: float) -> float:
        now = process_time()
        self.spent[step] += now - began
        return now


def measure(rounds: int = ROUNDS) -> list[Figure]:
    """Return CPU microseconds per record of each step, of HTTP, and in total."""
    with warm_server() as target, ProcessPoolExecutor(1, mp_context=SPAWN) as process:
        found = [process.submit(_round, target).result() for _ in range(rounds)]
    medians = {step: median(one[step] for one in found) for step in found[0]}
    return [Figure(f"stages: {step}", f"{spent:.2f} us") for step, spent in medians.items()]


def _round(target: Target) -> dict[str, float]:
    pin_to_core(0)
    records = list(workload.records(BATCHES * BATCH_MAX, target.start))
    steps = Steps(records, target.start)
    steps.run()
    assert steps.delivered == len(records)
    bodies = [_body(records, seq) for seq in range(BATCHES)]
    spent = {
        **steps.spent,
        "all steps": sum(steps.spent.values()),
        "HTTP, raw aiohttp": _timed(lambda: post_all(target.url, TOKEN, bodies)),
        "HTTP, our transport": _timed(lambda: _carry(target, bodies)),
        "push_many": _timed(lambda: _campaign(target, records)),
    }
    return {step: 1e6 * seconds / len(records) for step, seconds in spent.items()}


def _results(content: BatchContent, batch_id: str, ids: list[str | None]) -> BatchResults:
    count = len(content)
    nothing: list[str | None] = [None] * count
    outcomes = [Outcome.DELIVERED] * count
    return BatchResults(
        content.originals,
        content.rows,
        content.keys,
        outcomes,
        nothing,
        nothing,
        ids,
        batch_id,
        1,
        False,
        is_plain=True,
    )


def _body(records: list[CallRecord], seq: int) -> bytes:
    columns = RecordColumns.of(records[seq * BATCH_MAX : (seq + 1) * BATCH_MAX])
    return submit_request("v2", workload.ACCOUNT, columns).body or b""


def _timed(main: Callable[[], Coroutine[Any, Any, None]]) -> float:
    """Return the CPU seconds of the second run; the first one imports and connects."""
    asyncio.run(main())
    gc.collect()
    began = process_time()
    asyncio.run(main())
    return process_time() - began


async def _carry(target: Target, bodies: list[bytes]) -> None:
    transport, timeouts, token, work = AiohttpTransport(target.url), Timeouts(), Secret(TOKEN), iter(bodies)

    async def one_after_the_other() -> None:
        for body in work:
            said = await transport.send(Request("submit", "POST", PATH, body, WRITE_HEADERS, token), timeouts)
            request = status_request("v2", workload.ACCOUNT, said.body[13:-2].decode())
            await transport.send(request.with_token(token), timeouts)

    await asyncio.gather(*(one_after_the_other() for _ in range(IN_FLIGHT)))
    await transport.aclose()


async def _campaign(target: Target, records: list[CallRecord]) -> None:
    async with target.client() as client, client.push_many(records, options=CampaignOptions(poll=POLL)) as results:
        async for _ in results:
            pass
