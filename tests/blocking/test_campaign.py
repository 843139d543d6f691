"""Whole campaigns with the blocking client: every record has a result, for each kind of source."""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.blocking.conftest import OPTIONS, SETTINGS, Served
from tests.blocking.records import REFUSED, record, records
from truecaller_async import (
    CallRecord,
    CampaignOptions,
    ClientClosed,
    ConfigError,
    Outcome,
    PollPolicy,
    SourceError,
    read_csv,
)
from truecaller_async.blocking import Campaign, TruecallerClient
from truecaller_async.sources import thread_source

MAIN = threading.main_thread()


def finished(campaign: Campaign) -> list[int]:
    """Run the campaign; return the rows that were delivered."""
    with campaign as results:
        return sorted(result.row for result in results if result.outcome is Outcome.DELIVERED)


def test_every_record_has_a_result_and_summary_is_readable_after_the_end(served: Served) -> None:
    with TruecallerClient.from_env(served.environment) as client:
        source = [*records(1200), record(0, receiver=REFUSED)]
        source.append(source[0])
        with client.push_many(source, options=OPTIONS) as results:
            outcomes = Counter(result.outcome for result in results)
    assert outcomes == {Outcome.DELIVERED: 1200, Outcome.FAILED: 1, Outcome.DUPLICATE: 1}
    assert results.summary.adds_up
    assert results.summary.delivered == 1200
    assert results.progress.finished
    assert len(served.truth()) == 1201


def test_generator_is_read_and_closed_in_one_thread_of_its_own(client: TruecallerClient) -> None:
    seen: list[threading.Thread] = []

    class Rows:
        def __iter__(self) -> Iterator[CallRecord]:
            seen.append(threading.current_thread())
            return self._rows()

        def _rows(self) -> Iterator[CallRecord]:
            try:
                for one in records(1100):
                    seen.append(threading.current_thread())
                    yield one
            finally:
                seen.append(threading.current_thread())

    loops = [thread for thread in threading.enumerate() if thread.name == "truecaller loop"]
    assert finished(client.push_many(Rows(), options=OPTIONS)) == list(range(1, 1101))
    assert len(seen) == 1102
    assert len(set(seen)) == 1
    assert seen[0] is not MAIN
    assert seen[0] not in loops
    assert seen[0].name == "truecaller source"


def test_failing_source_keeps_rows_read_and_raises_after_the_last_result(client: TruecallerClient) -> None:
    def rows() -> Iterator[CallRecord]:
        yield from records(3)
        raise LookupError("the cursor is gone")

    delivered: list[int] = []
    with (
        client.push_many(rows(), options=OPTIONS) as results,
        pytest.raises(SourceError, match="after row 3") as broken,
    ):
        delivered.extend(result.row for result in results)
    assert sorted(delivered) == [1, 2, 3]
    assert isinstance(broken.value.__cause__, LookupError)


def test_async_source_a_list_and_a_file_are_read_too(client: TruecallerClient, tmp_path: Path) -> None:
    async def rows() -> AsyncIterator[CallRecord]:
        for one in records(2):
            yield one

    file = tmp_path / "campaign.csv"
    start = record().starts_at
    assert isinstance(start, int)
    file.write_text(
        "caller,receiver,label_id,reason,starts_at,ends_at\n"
        f"911234567898,919234567890,{SETTINGS.labels[0].id},Calling you for KYC,{start},{start + 3_600_000}\n",
        encoding="utf-8",
    )
    assert finished(client.push_many(rows(), options=OPTIONS)) == [1, 2]
    assert finished(client.push_many(list(records(2)), options=OPTIONS)) == [1, 2]
    assert finished(client.push_many(read_csv(file), options=OPTIONS)) == [1]


@pytest.mark.parametrize("source", [None, 5, "campaign.csv", {"caller": "x"}, record()])
def test_invalid_source_is_refused_like_in_the_async_client(client: TruecallerClient, source: object) -> None:
    with pytest.raises(ConfigError, match="the source is"), client.push_many(source):
        pass


def test_reader_that_stops_early_stops_the_source_and_leaks_nothing(client: TruecallerClient) -> None:
    closed = threading.Event()

    def endless() -> Iterator[CallRecord]:
        try:
            number = 0
            while True:
                number += 1
                yield record(number)
        finally:
            closed.set()

    options = CampaignOptions(linger=0.02, max_unresolved=1000, poll=PollPolicy(first=0.05))
    with client.push_many(endless(), options=options) as results:
        next(results)
    assert closed.is_set()
    assert results.summary.adds_up
    assert results.summary.read <= 1500
    assert client.calls.push(record(1)).status == "success"


@pytest.mark.parametrize("end", ["drain", "abort"])
def test_campaign_can_be_drained_and_aborted(client: TruecallerClient, end: str) -> None:
    options = CampaignOptions(linger=0.02, max_unresolved=1000, poll=PollPolicy(first=0.05))
    with client.push_many(records(100_000), options=options) as results:
        rows = [next(results).row]
        getattr(results, end)()
        rows += [result.row for result in results]
    assert results.summary.adds_up
    assert results.summary.read < 100_000
    assert len(set(rows)) == len(rows) == results.summary.read


def test_misused_campaign_explains_correct_use(client: TruecallerClient) -> None:
    campaign = client.push_many(records(1), options=OPTIONS)
    for use in (lambda: next(campaign), campaign.drain, campaign.abort, lambda: campaign.summary):
        with pytest.raises(ConfigError, match="a campaign starts with"):
            use()
    assert finished(campaign) == [1]
    with pytest.raises(ConfigError, match="runs once"):
        campaign.__enter__()


def test_closing_the_client_ends_its_campaigns_cleanly(served: Served) -> None:
    client = TruecallerClient.from_env(served.environment)
    with pytest.raises(ClientClosed), client.push_many(records(5), options=OPTIONS):
        client.close()
    assert len(served.truth()) in (0, 5)


def test_ctrl_c_is_raised_at_once_and_summary_adds_up(client: TruecallerClient) -> None:
    entered = threading.Event()

    def interrupting() -> Iterator[CallRecord]:
        for number in range(1, 5000):
            if number == 700:
                entered.wait()  # the source is read as soon as the block is entered, and `results` must be bound
                signal.pthread_kill(MAIN.ident or 0, signal.SIGINT)
            yield record(number)

    def consume() -> None:
        entered.set()
        for _ in results:
            pass

    with pytest.raises(KeyboardInterrupt), client.push_many(interrupting(), options=OPTIONS) as results:
        consume()
    assert results.summary.adds_up
    assert results.progress.finished
    assert client.calls.push(record(1)).status == "success"


def test_ctrl_c_while_waiting_loses_no_result(client: TruecallerClient) -> None:
    waiting, go_on = threading.Event(), threading.Event()

    def interrupting() -> Iterator[CallRecord]:
        waiting.wait()
        signal.pthread_kill(MAIN.ident or 0, signal.SIGINT)
        go_on.wait()
        yield from records(3)

    def wait() -> None:
        waiting.set()
        next(results)

    with client.push_many(interrupting(), options=OPTIONS) as results:
        with pytest.raises(KeyboardInterrupt):
            wait()
        go_on.set()
        assert sorted(result.row for result in results) == [1, 2, 3]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_campaign_of_another_process_is_refused(client: TruecallerClient, monkeypatch: pytest.MonkeyPatch) -> None:
    with client.push_many(records(3), options=OPTIONS) as results:
        parent = os.getpid()
        with monkeypatch.context() as child:
            child.setattr(os, "getpid", lambda: parent + 1)
            with pytest.raises(ClientClosed, match="another process"):
                next(results)
        assert len(list(results)) == 3


def test_stuck_source_does_not_delay_the_end(client: TruecallerClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thread_source, "CLOSE_TIMEOUT_SECONDS", 0.01)
    go_on, ended = threading.Event(), threading.Event()

    def stuck() -> Iterator[CallRecord]:
        try:
            yield record(1)
            go_on.wait()
            yield record(2)
        finally:
            ended.set()

    with client.push_many(stuck(), options=OPTIONS) as results:
        assert next(results).row == 1
    assert not ended.is_set()
    assert results.summary.read == 1
    go_on.set()
    assert ended.wait(10.0)
