"""All public calls of the client that send requests, by name.

A campaign returns everything that it shows. It is abandoned as soon as it has failed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import attrs

from truecaller_async import CallRecord, CampaignOptions, PollPolicy, TruecallerClient
from truecaller_async.campaign.stream import CampaignStream

from .host import CALLER, FEATURE_SET, LISTED, RECEIVER, Host

LINGER = 0.01
IN_TIME = 3.0
AFTERWARDS = 0.02
"""Time in which a campaign may react to the failure before it is abandoned."""

POLLS = PollPolicy(first=0.01, factor=1.2, cap=0.05, deadline=0.2)
OPTIONS = CampaignOptions(linger=LINGER, max_resends=1, poll=POLLS)


@attrs.frozen
class Given:
    """Client, folder and other arguments of a call."""

    host: Host
    client: TruecallerClient
    folder: Path

    @property
    def path(self) -> Path:
        """Return the path of a file that does not exist."""
        return self.folder / f"file-{len(list(self.folder.iterdir()))}"


Use = Callable[[Given], Awaitable[object]]


def record() -> CallRecord:
    """Return a record that is valid now."""
    start = datetime.now(UTC)
    return CallRecord(CALLER, RECEIVER, start, start + timedelta(hours=1), reason="Calling about your delivery")


async def _push(given: Given) -> object:
    return await given.client.calls.push(record())


async def _push_by(given: Given) -> object:
    return await given.client.calls.push(record(), deadline=0.5)


async def _submit(given: Given) -> object:
    return await given.client.batches.submit([record()])


async def _status(given: Given) -> object:
    return await given.client.batches.status("b-1")


async def _wait(given: Given) -> object:
    return await given.client.batches.wait("b-1", timeout=0.3, poll=POLLS)


async def _labels(given: Given) -> object:
    return [label async for label in given.client.labels.list()]


async def _feature_sets(given: Given) -> object:
    return [found async for found in given.client.feature_sets.list()]


async def _numbers(given: Given) -> object:
    return await given.client.numbers.list()


async def _publish(given: Given) -> object:
    return await given.client.numbers.publish(FEATURE_SET, [LISTED])


async def _delist(given: Given) -> object:
    return await given.client.numbers.delist(FEATURE_SET, [LISTED])


async def _wait_listed(given: Given) -> object:
    return await given.client.numbers.wait_listed(FEATURE_SET, [LISTED], timeout=0.3, poll=POLLS)


async def _feedback(given: Given) -> object:
    return await given.client.exports.user_feedback("survey", given.path, from_date=datetime.now(UTC))


async def _call_me_back(given: Given) -> object:
    now = datetime.now(UTC)
    return await given.client.exports.call_me_back(given.path, start=now - timedelta(days=1), end=now)


async def _token(given: Given) -> object:
    return [await given.client.tokens.make(), await given.client.tokens.status()]


async def _campaign(given: Given) -> object:
    return await _taken(given, given.client.push_many([record()], options=OPTIONS))


async def _durable(given: Given) -> object:
    return await _taken(given, given.client.push_many([record()], journal=given.path, options=OPTIONS))


async def _resumed(given: Given) -> object:
    """Stop the first run before it sends anything, so that the second one meets the failure."""
    journal = given.path
    async with given.client.push_many([record()], journal=journal, options=OPTIONS) as stream:
        await stream.abort()
    return await _taken(given, given.client.resume(journal, source=[record()]))


async def _taken(given: Given, stream: CampaignStream) -> object:
    """Return everything that a campaign shows; stop it after the failure."""
    results: list[object] = []

    async def leave() -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(IN_TIME):
                await given.host.until_failed()
                await asyncio.sleep(AFTERWARDS)
        await stream.abort()

    async with stream:
        leaving = asyncio.create_task(leave())
        try:
            async for result in stream:
                results += [result, stream.progress, stream]
        finally:
            leaving.cancel()
            with suppress(asyncio.CancelledError):
                await leaving
    return [*results, stream.summary]


CALLS: dict[str, Use] = {
    "calls.push": _push,
    "calls.push with a deadline": _push_by,
    "batches.submit": _submit,
    "batches.status": _status,
    "batches.wait": _wait,
    "labels.list": _labels,
    "feature_sets.list": _feature_sets,
    "numbers.list": _numbers,
    "numbers.publish": _publish,
    "numbers.delist": _delist,
    "numbers.wait_listed": _wait_listed,
    "exports.user_feedback": _feedback,
    "exports.call_me_back": _call_me_back,
    "tokens.make": _token,
    "push_many": _campaign,
    "push_many with a journal": _durable,
    "resume": _resumed,
}
