"""The threads and loops in which a blocking client may be used, and the errors elsewhere."""

from __future__ import annotations

import asyncio
import pickle
import signal
import socket
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.blocking.conftest import OPTIONS, SERVER_TIMEOUT_SECONDS, Served
from tests.blocking.records import record, records
from truecaller_async import ClientClosed, ConfigError, TruecallerError
from truecaller_async.blocking import TruecallerClient

UNHEARD: dict[str, Any] = {
    "client_account_id": "00000000-0000-4000-8000-000000000001",
    "key_id": "the-key-id",
    "api_key": "the-api-key",
}


class Told:
    """An observer that calls its own client, on the client's own loop."""

    def __init__(self) -> None:
        self.client: TruecallerClient | None = None
        self.raised: list[Exception] = []

    def request(self, *_: object) -> None:
        """Ignore requests."""

    def event(self, name: str, fields: Mapping[str, object]) -> None:
        """Try to call and to close the client."""
        assert self.client is not None
        for use in (self.client.tokens.status, self.client.close):
            try:
                use()
            except TruecallerError as error:
                self.raised.append(error)


def loops() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "truecaller loop"]


async def test_client_works_while_a_loop_is_running(served: Served) -> None:
    with TruecallerClient.from_env(served.environment) as client:
        assert client.calls.push(record(1)).status == "success"
        with client.push_many(records(3), options=OPTIONS) as results:
            assert len(list(results)) == 3
    assert asyncio.get_running_loop().is_running()


def test_many_threads_share_one_client_its_token_and_its_thread(served: Served) -> None:
    before = len(loops())
    with TruecallerClient.from_env(served.environment) as client, ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda number: client.calls.push(record(number)), range(40)))
        assert len(loops()) == before + 1
    assert [answer.status for answer in answers] == ["success"] * 40
    assert len({entry.receiver for entry in served.truth()}) == 40
    assert served.stats.mints == 1
    assert len(loops()) == before


def test_threads_run_campaigns_of_their_own_at_the_same_time(client: TruecallerClient) -> None:
    def campaign(first: int) -> int:
        with client.push_many([record(number) for number in range(first, first + 50)], options=OPTIONS) as results:
            return len(list(results))

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(campaign, (0, 100, 200, 300))) == [50] * 4


def test_unused_client_starts_no_thread() -> None:
    before = threading.active_count()
    with TruecallerClient(**UNHEARD):
        assert threading.active_count() == before


def test_call_on_its_own_loop_raises_instead_of_deadlocking(served: Served) -> None:
    told = Told()
    with TruecallerClient.from_env(served.environment, observer=told) as client:
        told.client = client
        client.calls.push(record(1))
    assert told.raised
    assert all(isinstance(error, ConfigError) and "own event loop" in str(error) for error in told.raised)


def test_closed_client_raises_wherever_it_is_used(served: Served) -> None:
    client = TruecallerClient.from_env(served.environment)
    campaign, listing = client.push_many(records(1)), client.labels.list()
    client.calls.push(record(1))
    client.close()
    client.close()
    uses = (
        lambda: client.calls.push(record(1)),
        lambda: client.batches.status("b-1"),
        lambda: client.labels.list(),
        lambda: listing.page(),
        lambda: next(iter(listing)),
        lambda: client.tokens.status(),
        lambda: client.push_many(records(1)),
        lambda: campaign.__enter__(),
        lambda: client.with_options(),
        lambda: client.__enter__(),
    )
    for use in uses:
        with pytest.raises(ClientClosed, match="Make a new one"):
            use()


def test_many_threads_may_close_at_once(served: Served) -> None:
    client = TruecallerClient.from_env(served.environment)
    client.calls.push(record(1))
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(lambda _: client.close(), range(8))) == [None] * 8


def test_close_ends_a_call_that_waits_in_another_thread() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as threads:
        client = TruecallerClient(**UNHEARD, base_url=f"http://127.0.0.1:{server.getsockname()[1]}")
        waiting = threads.submit(client.calls.push, record(1))
        peer, _ = server.accept()
        peer.recv(65536)
        client.close()
        with pytest.raises(ClientClosed):
            waiting.result(SERVER_TIMEOUT_SECONDS)
        peer.close()


def test_ctrl_c_cancels_the_call_that_is_waited_for() -> None:
    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def interrupt() -> None:
            peer, _ = server.accept()
            peer.recv(65536)
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
            while peer.recv(65536):
                pass
            ended.set()
            peer.close()

        thread = threading.Thread(target=interrupt)
        thread.start()
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        with TruecallerClient(**UNHEARD, base_url=address) as client, pytest.raises(KeyboardInterrupt):
            client.calls.push(record(1))
        thread.join(SERVER_TIMEOUT_SECONDS)
    assert ended.is_set()


def test_client_that_is_thrown_away_warns_and_its_thread_ends(served: Served) -> None:
    client = TruecallerClient.from_env(served.environment)
    client.calls.push(record(1))
    (thread,) = loops()
    dropped = [client]
    del client
    with pytest.warns(ResourceWarning, match="never closed. Write 'with'"):
        dropped.clear()
    thread.join(SERVER_TIMEOUT_SECONDS)
    assert not thread.is_alive()


def test_list_or_a_campaign_keeps_its_client_alive(served: Served) -> None:
    held = [TruecallerClient.from_env(served.environment).labels.list()]
    assert len(list(held[0])) == len(held[0].page().items)
    with pytest.warns(ResourceWarning, match="never closed"):
        held.clear()


def test_client_refuses_pickling_with_advice() -> None:
    with pytest.raises(TypeError, match="from_env") as refused:
        pickle.dumps(TruecallerClient(**UNHEARD))
    assert "the-api-key" not in str(refused.value)


async def test_async_with_raises_with_advice() -> None:
    with pytest.raises(TypeError, match="write 'with'"):
        async with TruecallerClient(**UNHEARD):
            pass
