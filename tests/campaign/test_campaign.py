"""Whole campaigns on the virtual clock: one documented behaviour per test."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from random import Random

import pytest

from tests.campaign.world import Fault, World, applications, check_account, record, records, slowly
from tests.throttling.conftest import SMALL, make_batches_small
from tests.throttling.gateway import run_on_swift_loop
from tests.virtual import BASE, most_in_window, run_virtual
from truecaller_async import (
    AuthenticationFailed,
    BadRequest,
    CallRecord,
    CampaignOptions,
    ConfigError,
    Forbidden,
    Limits,
    NotSent,
    Outcome,
    RecordResult,
    RetryPolicy,
    SourceError,
    UnexpectedRedirect,
)
from truecaller_async.models import Request
from truecaller_async.sandbox import SandboxSettings


def outcomes(results: list[RecordResult]) -> Counter[Outcome]:
    return Counter(result.outcome for result in results)


def on(call: str, nth: int, what: str) -> Fault:
    """Return a fault script: the n-th request of this call fails in this way."""
    return lambda request, count, _: what if request.call == call and count == nth else None


def test_every_record_is_delivered_and_the_summary_adds_up() -> None:
    async def main() -> None:
        world = World()
        results, summary, fault = await world.run(records(1234))
        check_account(results, summary, world.state)
        assert fault is None
        assert (summary.read, summary.delivered, summary.batches) == (1234, 1234, 3)
        assert summary.requests["submit"] == 3
        assert all(result.attempts == 1 and not result.possibly_duplicated for result in results)
        assert all(result.batch_id and result.record_id for result in results)
        assert {result.key for result in results} == {str(number) for number in range(1, 1235)}

    run_virtual(main)


@pytest.mark.fault("F16")
def test_minutes_long_campaign_runs_at_the_permitted_rate_without_refusals(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make_batches_small(monkeypatch)

    async def main() -> None:
        world = World()
        _, summary, fault = await world.run(records(SMALL * 800))
        stats = world.state.stats()
        assert fault is None
        assert summary.delivered == SMALL * 800
        assert stats.violations == {}
        assert stats.refused == 0
        assert stats.mints == 10
        assert stats.peaks["batch"] == 60
        assert stats.first_submit is not None
        assert stats.last_submit is not None
        sending = stats.last_submit - stats.first_submit
        assert 800 / (sending * 10) >= 0.97
        assert summary.rate_utilisation is not None
        assert summary.rate_utilisation >= 0.97

    run_on_swift_loop(main)


def test_same_seed_gives_the_same_run_to_the_microsecond() -> None:
    def once() -> tuple[list[tuple[float, str, str]], list[int]]:
        async def main() -> tuple[list[tuple[float, str, str]], list[int]]:
            world = World(seed=7, latency=(0.0, 0.4))
            results, _, _ = await world.run(records(20_000))
            return world.transport.sent, [result.row for result in results]

        return run_virtual(main)

    assert once() == once()


def test_tokens_are_minted_only_as_needed() -> None:
    async def main() -> None:
        few = World()
        await few.run(records(400))
        assert few.state.stats().mints == 1
        many = World(max_tokens=4)
        await many.run(records(30_000))
        assert many.state.stats().mints == 4

    run_virtual(main)


def test_server_outcomes_are_assigned_to_their_rows() -> None:
    async def main() -> None:
        world = World()
        given = [record(1), record(2, receiver="919800000013"), record(3), record(4, receiver="919800000052")]
        results, summary, _ = await world.run(given)
        by_row = {result.row: result for result in results}
        check_account(results, summary, world.state)
        assert [by_row[row].outcome for row in (1, 2, 3, 4)] == ["delivered", "failed", "delivered", "failed"]
        assert by_row[2].reason == "Not a Truecaller user"
        assert by_row[4].reason == "Failed to push"
        assert by_row[2].record is given[1]

    run_virtual(main)


def test_bad_row_is_invalid_and_the_run_goes_on() -> None:
    async def main() -> None:
        world = World()
        bad = record(2, receiver="12", reason="short", label_name="x")
        results, summary, fault = await world.run([record(1), bad, {"caller": "911234567898"}, record(4)])
        by_row = {result.row: result for result in results}
        check_account(results, summary, world.state)
        assert fault is None
        assert (summary.delivered, summary.invalid) == (2, 2)
        assert "receiver" in str(by_row[2].reason)
        assert "reason" in str(by_row[2].reason)
        assert "label_name" in str(by_row[2].reason)
        assert by_row[2].attempts == 0

    run_virtual(main)


@pytest.mark.fault("F46")
def test_equal_rows_are_sent_once() -> None:
    async def main() -> None:
        world = World()
        one = record(1)
        results, summary, _ = await world.run([one, one, record(2)])
        check_account(results, summary, world.state)
        assert (summary.delivered, summary.duplicate) == (2, 1)
        assert max(applications(world.state).values()) == 1
        again = World()
        _, summary, _ = await again.run([one, one], CampaignOptions(dedupe="off"))
        assert summary.delivered == 2

    run_virtual(main)


@pytest.mark.fault("F45")
def test_record_whose_window_has_passed_is_expired_without_being_sent() -> None:
    async def main() -> None:
        world = World()
        gone = record(1, starts=BASE - 7200, hours=1)
        closing = record(2, starts=BASE, hours=0.01)
        results, summary, _ = await world.run([gone, closing, record(3)])
        check_account(results, summary, world.state)
        assert outcomes(results) == {Outcome.EXPIRED: 2, Outcome.DELIVERED: 1}
        assert world.state.stats().records_applied == 1

    run_virtual(main)


@pytest.mark.fault("F45")
def test_window_that_closes_in_the_queue_is_not_sent() -> None:
    async def main() -> None:
        world = World(max_tokens=1)
        source = [*records(60_000, hours=8), *(record(n, hours=0.03) for n in range(60_001, 62_001))]
        results, summary, _ = await world.run(source)
        check_account(results, summary, world.state)
        assert summary.read == 62_000
        late = [result for result in results if result.outcome is Outcome.EXPIRED]
        assert all(result.attempts == 0 for result in late)
        assert all(entry.ends_at > entry.applied_at * 1000 for entry in world.state.truth(0, 10**6))  # type: ignore[operator]

    run_virtual(main)


def test_batches_whose_window_closes_first_go_first() -> None:
    async def main() -> None:
        world = World(max_tokens=1)
        source = [*records(20_000, hours=20), *(record(n, hours=2) for n in range(20_001, 20_501))]
        await world.run(source)
        order = [entry.receiver for entry in world.state.truth(0, 10**6)]
        assert order.index(record(20_001).receiver) < len(order) // 2

    run_virtual(main)


@pytest.mark.fault("F61")
def test_partial_batch_of_a_slow_source_is_sent_after_the_linger() -> None:
    async def main() -> None:
        world = World()
        seen: list[float] = []
        loop = asyncio.get_running_loop()
        async with world.client, world.client.push_many(slowly(records(3), 30.0)) as stream:
            seen.extend([loop.time() async for _ in stream])
        assert len(seen) == 3
        for arrival, seconds in zip(seen, (30.0, 60.0, 90.0), strict=True):
            assert seconds + 1.0 < arrival < seconds + 10.0

    run_virtual(main)


def test_unresolved_records_never_exceed_the_bound() -> None:
    async def main() -> None:
        world = World(settings=SandboxSettings(resolve_after=30.0))
        read = 0

        def counted() -> Iterator[CallRecord]:
            nonlocal read
            for item in records(10_000):
                read += 1
                yield item

        most = taken = 0
        options = CampaignOptions(max_unresolved=2_000)
        async with world.client, world.client.push_many(counted(), options=options) as stream:
            async for _ in stream:
                taken += 1
                most = max(most, read - taken)
        assert taken == 10_000
        assert most <= 2_000

    run_virtual(main)


def test_slow_reader_pauses_the_source_but_not_the_polling() -> None:
    async def main() -> None:
        world = World()
        options = CampaignOptions(max_unresolved=1_000)
        async with world.client, world.client.push_many(records(5_000), options=options) as stream:
            await anext(stream)
            await asyncio.sleep(3600)
            progress = stream.progress
            assert progress.read <= 2_000
            assert progress.pending == progress.planned == progress.in_flight == 0
            assert progress.limited_by == "reader"
            count = 1
            async for _ in stream:
                count += 1
        assert count == 5_000

    run_virtual(main)


def test_rows_of_one_pair_keep_the_source_order() -> None:
    async def main() -> None:
        world = World(latency=(0.0, 2.0), seed=3)
        reasons = [f"Reason number {number:04d} of it" for number in range(3_000)]
        source = [
            record(number % 50, reason=reasons[number], key=str(number), hours=8 - (number % 7))
            for number in range(3_000)
        ]
        results, summary, _ = await world.run(source)
        check_account(results, summary, world.state)
        newest: dict[str | None, str] = {}
        for entry in world.state.truth(0, 10**6):
            assert newest.get(entry.receiver, "") < str(entry.reason)
            newest[entry.receiver] = str(entry.reason)

    run_virtual(main)


@pytest.mark.fault("F46")
def test_keep_last_sends_only_the_newest_waiting_record() -> None:
    async def main() -> None:
        world = World(max_tokens=1)
        source = [*records(10_000), *(record(n, reason="The newer of the two") for n in range(9_001, 10_001))]
        results, summary, _ = await world.run(source, CampaignOptions(same_pair="keep_last"))
        check_account(results, summary, world.state)
        assert summary.unsent > 0
        newest = {entry.receiver: entry.reason for entry in world.state.truth(0, 10**6)}
        assert all(newest[record(n).receiver] == "The newer of the two" for n in range(9_001, 10_001))

    run_virtual(main)


@pytest.mark.fault("F20")
@pytest.mark.parametrize("what", ["lost_before", "lost_after", "500_before", "500_after"])
def test_lost_answer_is_resent_and_flagged(what: str) -> None:
    async def main() -> None:
        world = World(fault=on("submit", 2, what))
        results, summary, _ = await world.run(records(1_500))
        check_account(results, summary, world.state)
        flagged = [result for result in results if result.possibly_duplicated]
        assert summary.delivered == 1_500
        assert len(flagged) == summary.possibly_duplicated == 500
        assert all(result.attempts == 2 for result in flagged)
        assert summary.retries == 1

    run_virtual(main)


@pytest.mark.fault("F20")
@pytest.mark.parametrize("what", ["lost_before", "lost_after", "500_before", "500_after"])
def test_hold_policy_never_sends_twice(what: str) -> None:
    async def main() -> None:
        world = World(fault=on("submit", 2, what))
        results, summary, _ = await world.run(records(1_500), CampaignOptions(on_ambiguous="hold"))
        check_account(results, summary, world.state)
        assert outcomes(results) == {Outcome.DELIVERED: 1_000, Outcome.UNKNOWN: 500}
        assert max(applications(world.state).values()) == 1
        assert not any(result.possibly_duplicated for result in results)

    run_virtual(main)


@pytest.mark.fault("F20")
def test_resends_are_bounded_and_end_as_unknown() -> None:
    async def main() -> None:
        world = World(fault=lambda request, *_: "lost_after" if request.call == "submit" else None)
        results, summary, _ = await world.run(records(500))
        check_account(results, summary, world.state)
        assert summary.unknown == 500
        assert world.transport.counts["submit"] == 3
        assert {result.attempts for result in results} == {3}
        assert all(result.possibly_duplicated for result in results)

    run_virtual(main)


@pytest.mark.fault("F22")
def test_unsent_request_is_repeated_without_a_flag() -> None:
    async def main() -> None:
        world = World(fault=on("submit", 2, "not_sent"))
        results, summary, _ = await world.run(records(1_500))
        check_account(results, summary, world.state)
        assert summary.delivered == 1_500
        assert summary.possibly_duplicated == 0
        assert {result.attempts for result in results} == {1}
        assert max(applications(world.state).values()) == 1

    run_virtual(main)


def test_refused_mint_is_reported_in_the_summary() -> None:
    async def main() -> None:
        world = World(fault=on("mint", 1, "429:40"), max_tokens=1)
        results, summary, _ = await world.run(records(10))
        check_account(results, summary, world.state)
        assert (summary.requests["mint"], summary.tokens_minted, summary.throttled) == (2, 1, 1)

    run_virtual(main)


def test_rate_counts_only_sent_requests() -> None:
    async def main() -> None:
        world = World()
        good, bad = records(10), records(1_000, caller="12")
        _, summary, _ = await world.run([*good, *bad])
        assert summary.read == 1_010
        assert summary.records_per_second == pytest.approx(10 / summary.elapsed)

    run_virtual(main)


@pytest.mark.fault("F11")
def test_retry_after_cools_down_that_token_only() -> None:
    async def main() -> None:
        world = World(fault=on("submit", 5, "429:40"), max_tokens=3)
        results, summary, _ = await world.run(records(60_000))
        check_account(results, summary, world.state)
        assert summary.delivered == 60_000
        assert summary.throttled == 1
        at, held, _ = [entry for entry in world.transport.sent if entry[2] == "submit"][4]
        during = [token for time, token, _ in world.transport.sent if at + 0.2 < time < at + 40]
        assert held not in during
        assert len(set(during)) >= 2

    run_virtual(main)


@pytest.mark.fault("F01")
def test_refused_token_is_replaced_once_and_nothing_is_flagged() -> None:
    async def main() -> None:
        world = World(settings=SandboxSettings(token_life=100.0))
        results, summary, _ = await world.run(records(200_000))
        check_account(results, summary, world.state)
        assert summary.delivered == 200_000
        assert summary.possibly_duplicated == 0

    run_virtual(main)


@pytest.mark.fault("F27")
def test_accepted_batch_without_an_id_is_unknown_and_not_resent() -> None:
    async def main() -> None:
        world = World(fault=on("submit", 1, "empty"))
        results, summary, _ = await world.run(records(1_000))
        check_account(results, summary, world.state)
        assert outcomes(results) == {Outcome.UNKNOWN: 500, Outcome.DELIVERED: 500}
        assert max(applications(world.state).values()) == 1

    run_virtual(main)


@pytest.mark.fault("F40")
@pytest.mark.parametrize(("isolate", "pushes"), [("realtime", True), ("bisect", False)])
def test_one_poison_record_is_found_and_the_others_are_delivered(isolate: str, pushes: bool) -> None:
    async def main() -> None:
        world = World()
        source = [*records(400), record(401, label_id="11111111-2222-4333-8444-555555555555"), *records(900)][:901]
        results, summary, fault = await world.run(source, CampaignOptions(isolate=isolate))  # type: ignore[arg-type]
        check_account(results, summary, world.state)
        assert fault is None
        assert (summary.failed, summary.duplicate) == (1, 400)
        assert summary.delivered == 500
        bad = next(result for result in results if result.outcome is Outcome.FAILED)
        assert bad.row == 401
        assert "label_id" in str(bad.reason)
        assert (world.transport.counts["push"] > 0) is pushes
        assert max(applications(world.state).values()) == 1

    run_virtual(main)


@pytest.mark.fault("F40", "F45")
def test_records_expiring_during_isolation_do_not_block_their_pairs() -> None:
    async def main() -> None:
        limits = Limits.documented().replace(token=(10, 60.0))
        world = World(limits=limits, max_tokens=1)
        bad = record(0, label_id="11111111-2222-4333-8444-555555555555")
        first = [bad, *records(499, hours=0.1)]
        second = [record(number, reason="The later one of the pair") for number in range(1, 400)]
        results, summary, fault = await world.run([*first, *second])
        check_account(results, summary, world.state)
        assert fault is None
        assert summary.expired > 300
        assert summary.delivered >= 399
        assert summary.unsent == 0

    run_virtual(main)


@pytest.mark.fault("F40")
def test_unreachable_receivers_do_not_end_the_search_for_the_bad_record() -> None:
    async def main() -> None:
        world = World()
        bad = record(0, label_id="11111111-2222-4333-8444-555555555555")
        unreached = [record(number, receiver=f"9198{number:06d}13") for number in range(1, 61)]
        results, summary, fault = await world.run([bad, *unreached, *records(100)])
        check_account(results, summary, world.state)
        assert fault is None
        assert (summary.failed, summary.delivered) == (61, 100)
        reasons = Counter(result.reason for result in results if result.outcome is Outcome.FAILED)
        assert reasons["Not a Truecaller user"] == 60

    run_virtual(main)


@pytest.mark.fault("F40")
def test_without_isolation_every_record_of_the_batch_fails_with_the_reason() -> None:
    async def main() -> None:
        world = World()
        source = [record(1, label_id="11111111-2222-4333-8444-555555555555"), *records(400)]
        results, summary, _ = await world.run(source, CampaignOptions(isolate="none"))
        check_account(results, summary, world.state)
        assert summary.failed == 401

    run_virtual(main)


@pytest.mark.fault("F40")
def test_account_without_realtime_push_falls_back_to_bisect() -> None:
    async def main() -> None:
        world = World(fault=lambda request, *_: "403" if request.call == "push" else None)
        source = [*records(100), record(101, label_id="11111111-2222-4333-8444-555555555555"), *records(300)]
        results, summary, fault = await world.run(source)
        check_account(results, summary, world.state)
        assert fault is None
        assert summary.failed == 1

    run_virtual(main)


@pytest.mark.fault("F41")
def test_three_completely_refused_batches_stop_the_run() -> None:
    async def main() -> None:
        world = World()
        results, summary, fault = await world.run(records(5_000, label_id="11111111-2222-4333-8444-555555555555"))
        check_account(results, summary, world.state)
        assert isinstance(fault, BadRequest)
        assert summary.delivered == 0
        assert summary.unsent > 0
        assert world.transport.counts["submit"] <= 12

    run_virtual(main)


@pytest.mark.fault("F02", "F04", "F31")
@pytest.mark.parametrize(
    ("what", "error"), [("403", Forbidden), ("302", UnexpectedRedirect), ("401", AuthenticationFailed)]
)
def test_fatal_error_gives_every_record_a_result_and_is_raised(what: str, error: type[Exception]) -> None:
    async def main() -> None:
        world = World(fault=lambda request, *_: what if request.call == "submit" else None)
        results, summary, fault = await world.run(records(5_000))
        check_account(results, summary, world.state)
        assert isinstance(fault, error)
        assert summary.unsent == summary.read > 0
        assert world.state.stats().records_applied == 0

    run_virtual(main)


def test_run_refused_during_a_resend_does_not_report_records_as_unsent() -> None:
    async def main() -> None:
        script = {1: "lost_after", 2: "403"}
        world = World(fault=lambda request, count, _: script.get(count) if request.call == "submit" else None)
        results, summary, fault = await world.run(records(500))
        check_account(results, summary, world.state)
        assert isinstance(fault, Forbidden)
        assert summary.unknown == world.state.stats().records_applied == 500

    run_virtual(main)


def test_batch_refused_during_a_resend_is_unknown_and_not_failed() -> None:
    async def main() -> None:
        script = {1: "lost_after", 2: "400"}
        world = World(fault=lambda request, count, _: script.get(count) if request.call == "submit" else None)
        results, summary, _ = await world.run(records(500), CampaignOptions(isolate="none"))
        check_account(results, summary, world.state)
        assert summary.unknown == world.state.stats().records_applied == 500
        assert all(result.possibly_duplicated for result in results)

    run_virtual(main)


@pytest.mark.fault("F22")
def test_unreachable_host_ends_the_run_soon() -> None:
    async def main() -> None:
        world = World(fault=lambda *_: "not_sent")
        results, summary, fault = await world.run(records(700))
        assert isinstance(fault, NotSent)
        assert summary.unsent == summary.read == len(results)
        assert summary.elapsed < 60

    run_virtual(main)


def test_outage_midway_is_waited_out() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()

        def outage(request: Request, count: int, rng: Random) -> str | None:
            return "not_sent" if 5 < loop.time() < 905 else None

        world = World(fault=outage, max_tokens=2)
        results, summary, fault = await world.run(records(30_000))
        check_account(results, summary, world.state)
        assert fault is None
        assert summary.delivered == 30_000

    run_virtual(main)


@pytest.mark.fault("F60")
@pytest.mark.parametrize("at", [0, 1, 499, 500, 501, 2_000])
def test_failing_source_keeps_the_rows_already_read(at: int) -> None:
    async def main() -> None:
        def breaking() -> Iterator[CallRecord]:
            yield from records(at)
            raise OSError("the disk went away")

        world = World()
        results, summary, fault = await world.run(breaking())
        check_account(results, summary, world.state)
        assert isinstance(fault, SourceError)
        assert fault.row == at
        assert summary.read == at

    run_virtual(main)


def test_drain_sends_nothing_new_and_keeps_polling() -> None:
    async def main() -> None:
        world = World(max_tokens=1)
        results = []
        async with world.client, world.client.push_many(records(50_000)) as stream:
            async for result in stream:
                results.append(result)
                if len(results) == 600:
                    sent = world.transport.counts["submit"]
                    await stream.drain()
        summary = stream.summary
        check_account(results, summary, world.state)
        assert world.transport.counts["submit"] == sent
        assert summary.unknown == 0
        assert summary.unsent > 40_000
        assert summary.delivered == world.state.stats().records_applied

    run_virtual(main)


def test_abort_waits_for_requests_in_flight_and_assumes_no_outcome() -> None:
    async def main() -> None:
        world = World(latency=(0.5, 1.0))
        async with world.client, world.client.push_many(records(50_000)) as stream:
            await asyncio.sleep(3.0)
            await stream.abort()
            summary = stream.summary
            assert summary.adds_up
            assert summary.delivered + summary.unknown == world.state.stats().records_applied
            results = [result async for result in stream]
        check_account(results, summary, world.state)

    run_virtual(main)


def test_leaving_the_block_early_leaks_nothing() -> None:
    async def main() -> None:
        world = World()
        async with world.client:
            async with world.client.push_many(records(50_000)) as stream:
                async for _ in stream:
                    break
            assert stream.summary.adds_up
            assert stream.progress.finished

    run_virtual(main)


def test_cancelled_reader_stops_and_the_summary_adds_up() -> None:
    async def main() -> None:
        world = World(latency=(0.5, 1.0))
        stream = world.client.push_many(records(50_000))

        async def read() -> None:
            async with stream:
                async for _ in stream:
                    pass

        async with world.client:
            reading = asyncio.create_task(read())
            await asyncio.sleep(5.0)
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading
            summary = stream.summary
            assert summary.adds_up
            assert world.state.stats().records_applied == summary.delivered + summary.unknown

    run_virtual(main)


@pytest.mark.fault("F42")
def test_first_poll_delay_is_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    make_batches_small(monkeypatch)

    async def main() -> None:
        world = World(settings=SandboxSettings(resolve_after=7.0))
        _, summary, _ = await world.run(records(SMALL * 800))
        assert summary.requests["status"] <= 1.3 * summary.batches

    run_on_swift_loop(main)


@pytest.mark.fault("F37")
@pytest.mark.parametrize("correlate", ["auto", "watermark"])
def test_masked_numbers_are_matched_only_with_evidence(correlate: str) -> None:
    async def main() -> None:
        world = World(settings=SandboxSettings(mask_numbers=True))
        source = [*records(100), record(200, receiver="919800000013"), *records(300)]
        results, summary, _ = await world.run(source, CampaignOptions(correlate=correlate, dedupe="window"))  # type: ignore[arg-type]
        assert summary.adds_up
        if correlate == "watermark":
            bad = [result.row for result in results if result.outcome is Outcome.FAILED]
            assert bad == [101]
            assert summary.unknown == 0
        else:
            assert summary.unknown == 301
            assert all("do not show which record" in str(r.reason) for r in results if r.outcome is Outcome.UNKNOWN)

    run_virtual(main)


@pytest.mark.fault("F06")
def test_account_mint_budget_is_never_exceeded() -> None:
    async def main() -> None:
        limits = Limits.documented().replace(mint=(3, 1800.0))
        world = World(limits=limits)
        _, summary, _ = await world.run(records(50_000))
        assert summary.delivered == 50_000
        assert world.state.stats().mints == 3
        assert world.state.stats().refused == 0

    run_virtual(main)


@pytest.mark.fault("F16")
def test_no_limit_is_exceeded_at_the_transport() -> None:
    async def main() -> None:
        world = World(latency=(0.0, 1.5), seed=5)
        await world.run(records(60_000))
        by_token: dict[str, list[float]] = {}
        for time, token, call in world.transport.sent:
            if call == "submit":
                by_token.setdefault(token, []).append(time)
        assert all(most_in_window(times, 60.0) <= 60 for times in by_token.values())

    run_virtual(main)


def test_empty_source_ends_at_once() -> None:
    async def main() -> None:
        world = World()
        results, summary, fault = await world.run([])
        assert (results, fault, summary.read) == ([], None, 0)
        assert world.transport.counts.total() == 0

    run_virtual(main)


def test_misused_stream_explains_correct_use() -> None:
    async def main() -> None:
        world = World()
        stream = world.client.push_many(records(1))
        with pytest.raises(ConfigError, match="async with"):
            await anext(stream)
        async with stream:
            pass
        with pytest.raises(ConfigError, match="once"):
            async with stream:
                pass
        await world.client.aclose()

    run_virtual(main)


def test_resend_does_not_overwrite_a_newer_record_with_a_closed_window() -> None:
    async def main() -> None:
        world = World(fault=on("submit", 1, "lost_after"), retry=RetryPolicy(initial=200.0, cap=200.0))
        older, newer = record(1), record(1, reason="The newer reason", hours=0.02)
        results, summary, _ = await world.run([older, newer, record(2)], CampaignOptions(expiry_margin=0.0))
        check_account(results, summary, world.state)
        assert [result.outcome for result in sorted(results, key=lambda result: result.row)] == [
            Outcome.UNKNOWN,
            Outcome.UNKNOWN,
            Outcome.DELIVERED,
        ]
        told = [entry.reason for entry in world.state.truth(0, 100) if entry.receiver == older.receiver]
        assert told[-1] == "The newer reason"

    run_virtual(main)
