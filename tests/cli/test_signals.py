from __future__ import annotations

import asyncio
import os
import signal
from typing import NoReturn

import pytest

from truecaller_async.cli.signals import signal_handlers, stop_on_signals


class Stream:
    """Stream that records which way of stopping was requested."""

    def __init__(self) -> None:
        self.requested: asyncio.Queue[str] = asyncio.Queue()
        self.abort_may_end = asyncio.Event()

    async def drain(self) -> None:
        self.requested.put_nowait("drain")

    async def abort(self) -> None:
        self.requested.put_nowait("abort")
        await self.abort_may_end.wait()


@pytest.fixture(params=["the loop supports signal handlers", "the loop supports no signal handlers"])
async def any_loop(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> NoReturn:
        raise NotImplementedError

    if request.param == "the loop supports no signal handlers":
        loop = asyncio.get_running_loop()
        monkeypatch.setattr(loop, "add_signal_handler", refuse)
        monkeypatch.setattr(loop, "remove_signal_handler", refuse)


@pytest.mark.fault("F57")
@pytest.mark.usefixtures("any_loop")
async def test_first_signal_drains_and_the_second_aborts() -> None:
    stream, notified = Stream(), list[int]()
    async with stop_on_signals(stream, notified.append) as stopping:
        assert stopping.first_signal is None
        os.kill(os.getpid(), signal.SIGTERM)
        assert await stream.requested.get() == "drain"
        os.kill(os.getpid(), signal.SIGINT)
        assert await stream.requested.get() == "abort"
        stream.abort_may_end.set()
    assert notified == [1, 2]
    assert stopping.first_signal is signal.SIGTERM


@pytest.mark.fault("F57")
async def test_third_signal_changes_nothing() -> None:
    stream, notified = Stream(), list[int]()
    stream.abort_may_end.set()
    async with stop_on_signals(stream, notified.append) as stopping:
        for _ in range(4):
            stopping.on_signal(signal.SIGINT)
    assert [stream.requested.get_nowait() for _ in range(stream.requested.qsize())] == ["drain", "abort"]
    assert notified == [1, 2]


@pytest.mark.fault("F57")
async def test_pending_request_is_done_before_the_block_is_left() -> None:
    stream = Stream()
    async with stop_on_signals(stream, lambda _: None) as stopping:
        stopping.on_signal(signal.SIGINT)
    assert stream.requested.get_nowait() == "drain"


@pytest.mark.fault("F57")
@pytest.mark.usefixtures("any_loop")
async def test_previous_handlers_are_restored_after_an_error() -> None:
    def own(*_: object) -> None:
        """Handler of another library."""

    def fail() -> NoReturn:
        with signal_handlers(lambda _: None):
            assert signal.getsignal(signal.SIGINT) is not own
            raise ZeroDivisionError

    before = {signum: signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, own)
    try:
        with pytest.raises(ZeroDivisionError):
            fail()
        assert signal.getsignal(signal.SIGINT) is own
        assert signal.getsignal(signal.SIGTERM) == before[signal.SIGTERM]
    finally:
        signal.signal(signal.SIGINT, before[signal.SIGINT])
