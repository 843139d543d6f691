"""One breaker for a whole client: what it must not delay, and what it reports."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Collection
from contextlib import suppress

import attrs
import pytest

from tests.campaign.world import World, record, records
from tests.throttling.gateway import UNAVAILABLE, End, Rule, run_on_swift_loop, world_behind
from truecaller_async import (
    CampaignOptions,
    ClientClosed,
    DeadlineExceeded,
    Outcome,
    RetryPolicy,
    ServerError,
    Timeouts,
    TruecallerError,
)
from truecaller_async.models import Answer, Request, Secret
from truecaller_async.ports import Transport, Write

HOUR = 3600.0


def down(since: float, until: float, *calls: str) -> Rule:
    """Answer 503 to these calls (all, if none is named) in this time."""

    def rule(request: Request, now: float) -> End:
        return UNAVAILABLE if since <= now < until and (not calls or request.call in calls) else None

    return rule


def stages_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [str(getattr(line, "tc_event", "")) for line in caplog.records]


def test_breaker_open_and_close_are_logged_once_each(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> set[str | None]:
        world, _ = world_behind(down(20.0, 400.0), max_tokens=2)
        bounds = set()
        async with world.client, world.client.push_many(records(60_000)) as stream:
            reading = asyncio.create_task(_read(stream))
            await asyncio.sleep(60.0)
            while asyncio.get_running_loop().time() < 390.0:
                bounds.add(stream.progress.limited_by)
                await asyncio.sleep(30.0)
            await reading
        return bounds

    caplog.set_level("INFO", logger="truecaller_async")
    assert run_on_swift_loop(main) == {"service"}
    told = [name for name in stages_of(caplog) if name.startswith("breaker.")]
    assert told == ["breaker.opened", "breaker.closed"]


async def _read(stream: object) -> None:
    async for _ in stream:  # type: ignore[attr-defined]
        pass


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("tokens", [1, 4, 10])
def test_batches_are_sent_while_only_status_requests_fail(tokens: int) -> None:
    async def main() -> None:
        world, gateway = world_behind(down(0.0, HOUR, "status"), max_tokens=tokens)
        results, summary, fault = await world.run(records(400, hours=0.75))
        assert fault is None
        assert len(results) == 400
        assert (summary.expired, summary.delivered) == (0, 400)
        assert max(submit.came for submit in gateway.of("submit")) < 0.7 * HOUR

    run_on_swift_loop(main)


def test_batch_with_failing_status_blocks_no_push() -> None:
    async def main() -> None:
        world, _ = world_behind(down(0.0, 1e9, "status"), max_tokens=2)
        async with world.client as client, client.push_many(records(3)) as stream:
            reading = asyncio.create_task(_read(stream))
            for number in range(20):
                await asyncio.sleep(300.0)
                await client.calls.push(record(1_000 + number), deadline=5.0)
            await reading
        assert stream.summary.unknown == 3

    run_on_swift_loop(main)


def test_renewal_waiting_for_the_service_does_not_block_mint_requests() -> None:
    async def main() -> None:
        patient = RetryPolicy(total=20_000.0)
        world, gateway = world_behind(down(2_000.0, HOUR + 400.0), max_tokens=1, retry=patient)
        async with world.client as client:
            while asyncio.get_running_loop().time() < 2 * HOUR:
                with suppress(DeadlineExceeded, ServerError):
                    await client.calls.push(record(1, starts=1_760_000_000.0), deadline=20.0)
                await asyncio.sleep(1.0)
        well_again = min(seen.went for seen in gateway.seen if seen.status == 200 and seen.came >= HOUR + 400.0)
        assert well_again - (HOUR + 400.0) <= 400.0  # tokens that cannot be made are asked for every six minutes

    run_on_swift_loop(main)


def test_call_waiting_for_the_service_fails_when_the_client_closes() -> None:
    async def main() -> None:
        world, _ = world_behind(down(10.0, HOUR), max_tokens=1)
        async with world.client as client:
            await client.calls.push(record(1))
            await asyncio.sleep(10.0)
            for number in range(25):
                with pytest.raises(TruecallerError):
                    await client.calls.push(record(number), deadline=1.0)
            waiting = asyncio.create_task(client.calls.push(record(99)))
            await asyncio.sleep(1.0)
            assert not waiting.done()
        closed_at = asyncio.get_running_loop().time()
        with pytest.raises(ClientClosed):
            await waiting
        assert asyncio.get_running_loop().time() - closed_at <= 1.0

    run_on_swift_loop(main)


@pytest.mark.usefixtures("small_batches")
def test_internal_error_in_one_campaign_does_not_block_another() -> None:
    async def main() -> None:
        broken = iter([RuntimeError("a defect of somebody's transport")])

        def rule(request: Request, now: float) -> End:
            if not 60.0 <= now < 200.0:
                return None
            return next(broken, UNAVAILABLE) if now > 100.0 else UNAVAILABLE

        world, _ = world_behind(rule, max_tokens=1)
        async with world.client as client:
            first, second = (asyncio.create_task(_campaign(client, start)) for start in (1, 10_000))
            ended = await asyncio.gather(first, second, return_exceptions=True)
        assert Counter(type(end) for end in ended) == Counter([RuntimeError, int])
        assert max(end for end in ended if isinstance(end, int)) == 400

    run_on_swift_loop(main)


async def _campaign(client: object, start: int) -> int:
    source = [record(start + number) for number in range(400)]
    options = CampaignOptions(max_unresolved=60)
    async with client.push_many(source, options=options) as stream:  # type: ignore[attr-defined]
        await _read(stream)
    return int(stream.summary.delivered + stream.summary.unknown)


@pytest.mark.parametrize("calls", [(), ("submit",)])
@pytest.mark.parametrize("seconds", [3.0, 30.0, 600.0])
def test_outage_leaves_few_batches_without_an_outcome(seconds: float, calls: tuple[str, ...]) -> None:
    async def main() -> None:
        world, _ = world_behind(down(1.0, 1.0 + seconds, *calls), max_tokens=2)
        results, summary, fault = await world.run(records(60_000))
        assert fault is None
        assert Counter(result.outcome for result in results).keys() <= {Outcome.DELIVERED, Outcome.UNKNOWN}
        assert summary.unknown <= 2 * 500

    run_on_swift_loop(main)


@attrs.define
class Lying:
    """The `Transport` port, in front of another one: some answers have this `Date`."""

    server: Transport
    lies: tuple[int, ...]
    date: str
    _count: int = 0

    async def send(self, request: Request, timeouts: Timeouts) -> Answer:
        given = await self.server.send(request, timeouts)
        self._count += 1
        return attrs.evolve(given, headers={**given.headers, "date": self.date}) if self._count in self.lies else given

    async def download(
        self, link: Secret, write: Write, timeouts: Timeouts, *, hosts: Collection[str], max_bytes: int
    ) -> Answer:
        raise AssertionError("nothing here downloads a file")

    async def aclose(self) -> None:
        await self.server.aclose()


@pytest.mark.parametrize("lies", [(1,), (2,), (1, 2), tuple(range(100))], ids=["first", "second", "both", "all"])
@pytest.mark.parametrize("date", ["Thu, 01 Jan 1970 00:00:00 GMT", "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_impossible_server_date_expires_no_record(lies: tuple[int, ...], date: str) -> None:
    async def main() -> None:
        world = World(max_tokens=1)
        world.client._shared.executor._transport = Lying(world.transport, lies, date)
        _, summary, _ = await world.run(records(2_000))
        assert summary.delivered == 2_000

    run_on_swift_loop(main)
