"""Counting of the rates benchmark: early requests, used share, verdict of a row."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import rates
from benchmarks.minimal_server import Answers
from benchmarks.rates import Row, RunCounts
from benchmarks.strict import ServerBehaviour, ServerLog, StrictProtocol, TokenLogs, Worker
from tests.throttling.gateway import run_on_swift_loop
from tests.virtual import most_in_window
from truecaller_async import RateLimit

RULE = RateLimit("batch", 2, 1.0, calls=("submit",))
GOOD = RunCounts(arrivals=100, early=0, early_max_ms=0.0, refused=0, share=0.99)
EARLY = RunCounts(arrivals=100, early=1, early_max_ms=2.5, refused=1, share=0.99)

BODY = b'{"call_records":[]}'
HEAD = b"POST /v2/%b HTTP/1.1\r\nAuthorization: Bearer one\r\nContent-Length: 19\r\n\r\n"
SUBMIT = HEAD % b"dynamic_call_records" + BODY
PUSH = HEAD % b"call_record" + BODY


def seen(arrivals: Sequence[float], rule: RateLimit = RULE) -> ServerLog:
    logs = TokenLogs(rule)
    for moment in arrivals:
        logs.admits(b"one", moment)
    return logs.seen(0.0)


def test_early_request_is_counted_with_its_time() -> None:
    log = seen([0.0, 0.5, 0.875])
    assert log.early == [0.125]
    assert log.accepted == {b"one": [0.0, 0.5]}
    assert (log.requests, log.refused) == (3, 1)


def test_request_exactly_one_window_later_is_not_early() -> None:
    assert seen([0.0, 0.5, 1.0, 1.5]).early == []


def test_refused_request_does_not_make_later_ones_early() -> None:
    assert seen([0.0, 0.5, 0.75, 1.0, 1.5]).early == [0.25]


def test_each_token_has_its_own_log() -> None:
    logs = TokenLogs(RULE)
    assert all(logs.admits(token, 0.0) for token in (b"one", b"two") for _ in range(RULE.limit))
    assert not logs.admits(b"two", 0.5)


@given(st.lists(st.integers(0, 40), min_size=1, max_size=40), st.integers(1, 4))
def test_counter_agrees_with_a_count_of_each_window(ticks: list[int], limit: int) -> None:
    arrivals = [tick / 8 for tick in sorted(ticks)]
    log = seen(arrivals, RateLimit("batch", limit, 1.0))
    accepted, early = list[float](), 0
    for moment in arrivals:
        if most_in_window([*accepted, moment], 1.0) > limit:
            early += 1
        else:
            accepted.append(moment)
    assert log.accepted[b"one"] == accepted
    assert len(log.early) == early


def test_request_arrives_after_its_last_byte_and_delay() -> None:
    async def main() -> list[int]:
        logs = TokenLogs(RULE)
        protocol = StrictProtocol(Answers(), logs, ServerBehaviour(outward=(2.0, 2.0), backward=(1.0, 1.0)), Worker())
        counts = []
        for part, seconds in ((SUBMIT[:-1], 5.0), (SUBMIT[-1:], 1.0), (b"", 2.0)):
            protocol.data_received(part)
            await asyncio.sleep(seconds)
            counts.append(logs.seen(0.0).requests)
        return counts

    assert run_on_swift_loop(main) == [0, 0, 1]


def test_calls_that_the_limit_does_not_count_do_not_arrive() -> None:
    async def main() -> int:
        logs = TokenLogs(RULE)
        StrictProtocol(Answers(), logs, ServerBehaviour(), Worker()).data_received(PUSH)
        return logs.seen(0.0).requests

    assert run_on_swift_loop(main) == 0


def test_only_worker_serves_one_request_after_the_other() -> None:
    async def main() -> list[float]:
        loop, worker, served = asyncio.get_running_loop(), Worker(), list[float]()
        for _ in range(3):
            worker.serve(ServerBehaviour(service=2.0), lambda: served.append(loop.time()))
        await asyncio.sleep(10.0)
        return served

    assert run_on_swift_loop(main) == [2.0, 4.0, 6.0]


def test_share_counts_whole_windows_after_the_first() -> None:
    steady = [half / 2 for half in range(20)]
    assert rates.used_share([steady], RULE, 1, 9.9) == 1.0
    assert rates.used_share([[*steady[:2], *steady[10:]]], RULE, 1, 9.9) == 8 / 16
    assert rates.used_share([steady], RULE, 1, 1.9) == 0.0
    assert rates.used_share([], RULE, 1, 9.9) == 0.0


def test_share_begins_with_the_last_token_and_counts_missing_ones() -> None:
    steady = [half / 2 for half in range(20)]
    assert rates.used_share([steady, steady[8:]], RULE, 2, 9.9) == 1.0
    assert rates.used_share([steady], RULE, 2, 9.9) == 0.5


@pytest.mark.parametrize(
    ("row", "met"),
    [
        (Row("good", 0.98, 0, (GOOD, GOOD)), True),
        (Row("one run of two is early", None, 0, (GOOD, EARLY)), False),
        (Row("early, though refusals are injected", None, 10, (EARLY,)), False),
        (Row("refused", None, 0, (RunCounts(100, 0, 0.0, 1, 0.99),)), False),
        (Row("refused as injected", None, 10, (RunCounts(100, 0, 0.0, 10, 0.99),)), True),
        (Row("share too small", 0.98, 0, (GOOD, RunCounts(100, 0, 0.0, 0, 0.97))), False),
        (Row("share without a target", None, 0, (RunCounts(100, 0, 0.0, 0, 0.5),)), True),
    ],
    ids=lambda value: value.name if isinstance(value, Row) else "",
)
def test_row_fails_if_any_run_breaks_a_target(row: Row, met: bool) -> None:
    assert row.figure.met is met
    assert json.loads(rates.to_json([row]))[0]["is_met"] is met


def test_figure_of_a_row_sums_its_runs() -> None:
    figure = Row("name", 0.98, 0, (GOOD, EARLY)).figure
    assert figure.value == "200 arrivals, 1 early by at most 2.5 ms, 1 refused, share 99.00 % (99.00 to 99.00)"
    assert figure.target == "0 early, 0 refused, share >= 98 %"


def test_configurations_have_names_of_their_own() -> None:
    names = [one.name for one in rates.CONFIGURATIONS + rates.LONG]
    assert len(names) == len(set(names))
    assert set(rates.QUICK) <= set(rates.CONFIGURATIONS)
