"""Resumed, stopped and broken campaigns: difficult cases found in reviews."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Generator, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.campaign.crashing import Life, Survivor, live
from tests.campaign.durable_memory import DurableMemory
from tests.campaign.world import HOUR_MS, LABEL, SandboxTransport, World, record
from tests.virtual import BASE, run_virtual
from truecaller_async import (
    CallRecord,
    CampaignOptions,
    CampaignStream,
    ConfigError,
    JournalBusy,
    JournalError,
    Outcome,
    SourceChanged,
    SourceError,
    TruecallerClient,
    read_csv,
    read_jsonl,
)
from truecaller_async.campaign.core.batch import CampaignBatch
from truecaller_async.campaign.rows.fingerprints import RowFingerprints
from truecaller_async.campaign.startup.start import CampaignRequest
from truecaller_async.journal import MemoryJournal, SqliteJournal
from truecaller_async.models import Answer, Request, Row
from truecaller_async.models.journal_entries import (
    AttemptEnded,
    AttemptStarted,
    BatchAbandoned,
    BatchPlanned,
    CampaignStarted,
    JournalEntry,
    OperatorDecided,
    RowsRead,
    RowsSettled,
    RunStarted,
    SourcePosition,
)
from truecaller_async.sandbox import SandboxSettings, SandboxState
from truecaller_async.sources import CsvSource

STRANGE = "11111111-2222-4333-8444-555555555555"
SALT = b"s" * 16


def no_pushes(request: Request, count: int, dice: object) -> str | None:
    """Reject real-time pushes of the account."""
    return "403" if request.call == "push" else None


def lost_at_first(request: Request, count: int, dice: object) -> str | None:
    """Lose the first batch on its way."""
    return "lost_before" if request.call == "submit" and count == 1 else None


def stream_of(world: World, journal: Any, source: object, options: CampaignOptions | None = None) -> CampaignStream:
    """Return a campaign with this journal; resumed if the journal holds a campaign."""
    resumed = isinstance(journal, MemoryJournal | DurableMemory) and journal.state.started is not None
    return CampaignStream(
        CampaignRequest(world.client._campaign_deps, source, options, lambda: journal, resumed=resumed)
    )


def store(journal: DurableMemory, *entries: JournalEntry) -> None:
    """Store entries of an earlier run in one transaction."""
    journal.store(entries)
    assert journal.state.runs <= 1  # each entry follows from the earlier ones


def words_by_pair(state: SandboxState) -> dict[str | None, list[str | None]]:
    """Return what the phones of each pair showed, in order."""
    shown: dict[str | None, list[str | None]] = {}
    for entry in state.truth(0, 10**6):
        shown.setdefault(entry.receiver, []).append(entry.reason)
    return shown


def test_after_a_switch_to_bisect_later_batches_of_the_pairs_are_sent() -> None:
    async def main() -> None:
        world = World(fault=no_pushes)
        rows = [record(number, label_id=STRANGE if number == 7 else LABEL) for number in range(1, 501)]
        rows += [record(number, reason="The second call") for number in range(1, 501)]
        async with asyncio.timeout(3600):
            _, summary, fault = await world.run(rows)
        assert fault is None
        assert (summary.delivered, summary.failed) == (999, 1)

    run_virtual(main)


@pytest.mark.parametrize("seed", range(6))
def test_switch_to_bisect_keeps_the_order_of_each_pair(seed: int) -> None:
    async def main() -> None:
        world = World(seed=seed, fault=no_pushes, latency=(0.0, 3.0))
        rows = [
            record(number % 40, label_id=STRANGE if number == 7 else LABEL, reason=f"Word {number:03d} of it")
            for number in range(500)
        ]
        await world.run(rows)
        shown = words_by_pair(world.state)
        assert len(shown) == 40
        assert all(words[-1] == max(word or "" for word in words) for words in shown.values())

    run_virtual(main)


@pytest.mark.parametrize("same_pair", ["in_order", "keep_last"])
def test_replacement_of_a_waiting_record_waits_for_the_same_batches(same_pair: Any) -> None:
    def throttled_at_first(request: Request, count: int, dice: object) -> str | None:
        return "429" if request.call == "submit" and count == 1 else None

    async def rows() -> AsyncIterator[CallRecord]:
        for call in "123":
            for number in range(1, 501):
                yield record(number, reason=f"Word {call} of three")
            await asyncio.sleep(25.0 if call == "1" else 0.0)  # then the first batch is in flight

    async def main() -> None:
        world = World(fault=throttled_at_first, latency=(10.0, 10.0))
        await world.run(rows(), CampaignOptions(same_pair=same_pair))
        assert {words[-1] for words in words_by_pair(world.state).values()} == {"Word 3 of three"}

    run_virtual(main)


@pytest.mark.parametrize("later", ["equal", "bad"])
@pytest.mark.parametrize("judged", [False, True])
def test_row_never_sent_supersedes_no_other(later: str, judged: bool) -> None:
    state, survivor = SandboxState(SandboxSettings()), Survivor()
    again = record(1) if later == "equal" else record(1, reason="short")
    rows = [*(record(number) for number in range(1, 501)), again, *(record(number) for number in range(501, 510))]
    first, now = live(lambda: World(state=state, fault=lost_at_first), survivor, rows, CampaignOptions("hold"))
    assert sum(result.outcome is Outcome.UNKNOWN for result in first.results) == 500
    if judged:
        store(survivor, OperatorDecided(1, applied=False, at=BASE))
    options = CampaignOptions("hold" if judged else "resend")
    second, _ = live(lambda: World(state=state), survivor, rows, options, start=now + 1)
    assert [result.outcome for result in second.results] == [Outcome.DELIVERED] * 500


def test_newer_outcome_supersedes_the_older_one() -> None:
    state, survivor = SandboxState(SandboxSettings()), Survivor()
    rows = [*(record(number) for number in range(1, 501)), record(1, reason="The newer word")]
    _, now = live(lambda: World(state=state, fault=lost_at_first), survivor, rows, CampaignOptions("hold"))
    second, _ = live(lambda: World(state=state), survivor, rows, CampaignOptions("resend"), start=now + 1)
    assert [result.row for result in second.results if result.outcome is Outcome.UNKNOWN] == [1]
    assert words_by_pair(state)[record(1).receiver] == ["The newer word"]


def three_searches(journal: DurableMemory, world: World, rows: list[CallRecord]) -> None:
    """Journal three rejected batches of three; of each, two records were pushed and one is not sent yet."""
    options = attrs.asdict(CampaignOptions())
    store(journal, CampaignStarted(BASE, "1", world.state.settings.client_account_id, "v2", options, None, SALT))
    store(journal, RunStarted(BASE, 1))
    for group in range(3):
        seq = alone = 4 * group + 1
        numbers = tuple(range(3 * group + 1, 3 * group + 4))
        fingerprints = RowFingerprints(SALT).of(rows[numbers[0] - 1 : numbers[-1]])
        story: list[JournalEntry] = [
            BatchPlanned(seq, numbers),
            RowsRead(SourcePosition(numbers[-1], 0, 0), fingerprints),
            AttemptStarted(seq, 1, "t", BASE),
        ]
        story.append(AttemptEnded(seq, 1, "rejected", BASE, reason="label_id is not accepted", field="label_id"))
        for number in numbers:
            alone += 1
            story.append(BatchPlanned(alone, (number,), seq, "push"))
            if number != numbers[-1]:
                story += [AttemptStarted(alone, 1, "t", BASE), AttemptEnded(alone, 1, "accepted", BASE)]
                story.append(RowsSettled((number,), Outcome.DELIVERED, None, alone, attempts=2))
        store(journal, *story)


def test_last_bad_records_of_isolation_do_not_stop_a_resumed_run() -> None:
    async def main() -> None:
        world, journal = World(), DurableMemory()
        rows = [record(number, label_id=STRANGE if number in (3, 6, 9) else LABEL) for number in range(1, 40)]
        three_searches(journal, world, rows)
        stream = stream_of(world, journal, rows)
        async with world.client, stream:
            results = [result async for result in stream]
        assert sorted(result.row for result in results) == [3, 6, *range(9, 40)]
        assert (stream.summary.delivered, stream.summary.failed) == (36, 3)

    run_virtual(main)


class FullDisk(sqlite3.Connection):
    """Disk that is full from the `fails_at`-th transaction on."""

    transactions = 0
    fails_at = 10**9

    def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        if sql == "BEGIN IMMEDIATE":
            type(self).transactions += 1
            if self.transactions >= self.fails_at:
                raise sqlite3.OperationalError("database or disk is full")
        return super().execute(sql, *parameters)


def test_journal_is_released_if_its_last_write_fails(tmp_path: Path) -> None:
    class Disk(FullDisk):
        pass

    async def main() -> None:
        world, path, may_end = World(), tmp_path / "j.db", asyncio.Event()

        async def rows() -> AsyncIterator[CallRecord]:
            yield record(1)
            await may_end.wait()

        stream = stream_of(world, SqliteJournal(path, factory=Disk), rows())
        async with world.client:
            async with stream:
                assert len(await stream.next_results()) == 1
                Disk.fails_at = Disk.transactions + 1
                may_end.set()
                with pytest.raises(JournalError, match="disk is full"):
                    await stream.next_results()
            assert not (tmp_path / "j.db.lock").exists()
            async with world.client.resume(path, source=[record(1)]) as again:
                assert [result async for result in again] == []

    run_virtual(main)


class Stuck(DurableMemory):
    """Journal whose disk does not answer while `stuck` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.stuck = False
        self.waits = asyncio.Event()
        self._unanswered: list[asyncio.Future[None]] = []

    def append(self, entries: Sequence[JournalEntry], changed: Iterable[CampaignBatch]) -> asyncio.Future[None] | None:
        super().append(entries, changed)
        if not self.stuck:
            return None
        self.waits.set()
        self._unanswered.append(asyncio.get_running_loop().create_future())
        return self._unanswered[-1]

    def go_on(self) -> None:
        """Let the disk answer everything."""
        self.stuck = False
        for write in self._unanswered:
            write.set_result(None)


def test_resume_cancelled_while_restoring_releases_journal_and_source() -> None:
    closed: list[str] = []

    async def rows() -> AsyncIterator[CallRecord]:
        try:
            for number in range(1, 900):
                yield record(number)
        finally:
            closed.append("source")

    async def main() -> None:
        world, journal = World(fault=lost_at_first, latency=(1.0, 1.0)), Stuck()
        first = stream_of(world, journal, rows(), CampaignOptions("hold", linger=0.1))
        async with world.client, first:
            async with asyncio.timeout(5):
                async for _ in first:
                    break
        lost = next(batch for batch in journal.state.open if batch.state in ("planned", "abandoned"))
        if lost.state == "abandoned":
            store(journal, OperatorDecided(lost.seq, applied=False, at=BASE))
        store(journal, AttemptStarted(lost.seq, lost.attempts + 1, "t", BASE))  # and the process dies
        closed.clear()
        journal.stuck = True
        again = World()
        stream = stream_of(again, journal, rows())
        async with again.client:
            entering = asyncio.create_task(stream.__aenter__())
            await journal.waits.wait()
            entering.cancel()
            await asyncio.sleep(5.0)
            assert not entering.done()  # what was handed over is written
            journal.go_on()
            with pytest.raises(asyncio.CancelledError):
                await entering
        assert not journal._is_open
        assert closed == ["source"]

    run_virtual(main)


def test_second_cancel_during_exit_still_releases_the_journal() -> None:
    async def main() -> None:
        world, journal = World(latency=(5.0, 5.0)), MemoryJournal(resumable=True)
        stream = stream_of(world, journal, [record(1)])

        async def read() -> None:
            async with stream:
                async for _ in stream:
                    raise AssertionError("nothing is known yet")

        async with world.client:
            reading = asyncio.create_task(read())
            await asyncio.sleep(12.0)
            reading.cancel()
            await asyncio.sleep(0.1)
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading
            await asyncio.sleep(60.0)
        assert not journal._is_open

    run_virtual(main)


def test_source_that_was_cancelled_has_not_ended() -> None:
    async def rows() -> AsyncIterator[CallRecord]:
        for number in range(1, 8):
            yield record(number)
        raise asyncio.CancelledError

    async def main() -> None:
        world, journal = World(), MemoryJournal(resumable=True)
        stream = stream_of(world, journal, rows())
        async with world.client, stream:
            with pytest.raises(SourceError, match="after row 7") as caught:
                async for _ in stream:
                    pass
        assert caught.value.row == 7
        assert not journal.state.source_exhausted

    run_virtual(main)


def test_changed_source_is_closed_before_the_error_is_raised() -> None:
    closed: list[str] = []

    def rows(first: int) -> Iterator[CallRecord]:
        try:
            yield from (record(number) for number in range(first, first + 20))
        finally:
            closed.append("source")

    async def main() -> None:
        world, journal = World(), MemoryJournal(resumable=True)
        async with world.client, stream_of(world, journal, rows(1)) as stream:
            async for _ in stream:
                pass
        closed.clear()
        again = World()
        async with again.client:
            with pytest.raises(SourceChanged) as caught:
                await stream_of(again, journal, rows(2)).__aenter__()
        assert caught.value.row == 1
        assert closed == ["source"]
        assert not journal._is_open

    run_virtual(main)


def test_rows_with_values_of_any_type_can_be_reread(tmp_path: Path) -> None:
    odd: list[dict[str, object]] = [
        {"reason": ["a"]},
        {"receiver": {"a": 1}},
        {"key": [1]},
        {"reason": "\ud83d is half"},
    ]
    good = {"caller": "911234567898", "starts_at": int(BASE * 1000), "ends_at": int(BASE * 1000) + 8 * HOUR_MS}
    rows = [
        {**good, "receiver": record(number).receiver, "key": str(number), **(odd[number] if number < len(odd) else {})}
        for number in range(1_500)
    ]
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))

    async def main() -> None:
        world, journal = World(), MemoryJournal(resumable=True)
        async with (
            world.client,
            stream_of(world, journal, read_jsonl(path), CampaignOptions(max_unresolved=600)) as first,
        ):
            async for _ in first:
                break
        assert not journal.state.source_exhausted
        again = World(state=world.state)
        stream = stream_of(again, journal, None)
        async with again.client, stream:
            assert [result async for result in stream]
        assert (stream.summary.invalid, stream.summary.delivered) == (4, 1_496)

    run_virtual(main)


def settled_rows(life: Life) -> set[int]:
    """Return the rows whose final outcome was recorded in one run."""
    return {result.row for result in life.results if result.final}


def test_rows_expired_between_two_runs_are_not_sent() -> None:
    state, survivor = SandboxState(SandboxSettings()), Survivor()
    rows = [record(number, hours=0.1) for number in range(1, 601)]

    async def stop(stream: CampaignStream) -> None:
        await stream.abort()

    first, now = live(lambda: World(state=state), survivor, rows, None, meanwhile=stop)
    second, _ = live(lambda: World(state=state), survivor, rows, None, start=now + 3600)
    assert settled_rows(first) | settled_rows(second) == set(range(1, 601))
    late = [result for result in second.results if result.outcome is Outcome.EXPIRED]
    assert len(late) + len(list(state.truth(0, 10**6))) == 600


def test_oversized_batch_of_a_stopped_run_is_bisected_by_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    state, survivor = SandboxState(SandboxSettings()), Survivor()
    carry = SandboxTransport._carry

    async def too_large(self: SandboxTransport, request: Request) -> Answer:
        if request.call != "submit":
            return await carry(self, request)
        await asyncio.sleep(4.0)
        return Answer(413, {"content-type": "application/json"}, b"{}")

    async def stop(stream: CampaignStream) -> None:
        await asyncio.sleep(6.0)
        await stream.drain()

    rows, options = [record(number) for number in range(1, 501)], CampaignOptions(isolate="none")
    with monkeypatch.context() as patch:
        patch.setattr(SandboxTransport, "_carry", too_large)
        make = partial(World, state=state, latency=(2.0, 2.0))
        first, now = live(make, survivor, rows, options, meanwhile=stop)
    assert {result.outcome for result in first.results} == {Outcome.UNSENT}
    second, _ = live(lambda: World(state=state), survivor, rows, None, start=now + 1)
    assert [result.outcome for result in second.results] == [Outcome.DELIVERED] * 500


def two_searches(journal: DurableMemory, world: World, rows: list[CallRecord]) -> None:
    """Journal two rejected batches of the same pairs.

    A part of the first was abandoned, so the second was split as well. Now the operator decides that the part was not
    applied.
    """
    options = attrs.asdict(CampaignOptions())
    store(journal, CampaignStarted(BASE, "1", world.state.settings.client_account_id, "v2", options, None, SALT))
    store(journal, RunStarted(BASE, 1))
    for seq, numbers in ((1, (1, 2)), (2, (3, 4))):
        fingerprints = RowFingerprints(SALT).of([rows[number - 1] for number in numbers])
        refused = AttemptEnded(seq, 1, "rejected", BASE, reason="label_id is not accepted")
        store(
            journal,
            BatchPlanned(seq, numbers),
            RowsRead(SourcePosition(numbers[-1], 0, 0), fingerprints),
            AttemptStarted(seq, 1, "t", BASE),
            refused,
        )
    store(
        journal,
        BatchPlanned(3, (1, 2), 1),
        AttemptStarted(3, 1, "t", BASE),
        AttemptEnded(3, 1, "lost", BASE),
        BatchAbandoned(3),
    )
    store(journal, BatchPlanned(4, (3, 4), 2))
    store(journal, OperatorDecided(3, applied=False, at=BASE))


def test_parts_of_two_isolated_batches_keep_their_pair_order() -> None:
    throttled = iter(["429"])

    def fault(request: Request, count: int, dice: object) -> str | None:
        return next(throttled, None) if request.call == "submit" else None

    async def main() -> None:
        world, journal = World(fault=fault), DurableMemory()
        rows = [record(number, reason=f"Word {call} of two") for call in "12" for number in (1, 2)]
        two_searches(journal, world, rows)
        stream = stream_of(world, journal, rows)
        async with world.client, stream:
            assert {result.outcome async for result in stream} == {Outcome.DELIVERED}
        assert {words[-1] for words in words_by_pair(world.state).values()} == {"Word 2 of two"}

    run_virtual(main)


@pytest.mark.parametrize("given_again", [True, False])
@pytest.mark.parametrize("judged", [True, False])
def test_older_record_never_overwrites_a_newer_one_on_resume(given_again: bool, judged: bool) -> None:
    """The batch of the older record was lost and abandoned, and a later row of its pair was delivered."""
    state, survivor = SandboxState(SandboxSettings()), Survivor()
    rows = [*(record(number) for number in range(1, 501)), record(1, reason="The newer word")]
    hold, resend = CampaignOptions(on_ambiguous="hold"), CampaignOptions(on_ambiguous="resend")
    first, now = live(lambda: World(state=state, fault=lost_at_first), survivor, rows, hold)
    assert first.stream.summary.unknown == 500
    if judged:
        store(survivor, OperatorDecided(1, False, BASE + now))
    source = rows if given_again else None
    second, _ = live(lambda: World(state=state), survivor, source, hold if judged else resend, start=now + 1)
    assert words_by_pair(state)[record(1).receiver] == ["The newer word"]
    summary = second.stream.summary
    assert summary.adds_up
    assert (summary.delivered, summary.unknown) == ((500, 1) if given_again else (1, 500))
    if not given_again:
        assert {result.final for result in second.results} == {False}
        assert all("Resume with the same source" in str(result.reason) for result in second.results)


async def test_unreadable_input_leaves_no_journal_behind(tmp_path: Path) -> None:
    journal = tmp_path / "campaign.db"
    client = TruecallerClient(client_account_id="00000000-0000-4000-8000-000000000000", key_id="key", api_key="secret")
    (tmp_path / "odd.csv").write_text("name,number\n")
    async with client:
        for name in ("gone.csv", "odd.csv"):
            with pytest.raises(SourceError):
                async with client.push_many(read_csv(tmp_path / name), journal=journal):
                    pass
            assert not journal.exists()


@pytest.mark.parametrize("options", [{}, "hold"])
def test_options_of_a_wrong_type_are_refused_at_once(options: Any) -> None:
    client = TruecallerClient(client_account_id="00000000-0000-4000-8000-000000000000", key_id="key", api_key="secret")
    with pytest.raises(ConfigError, match="CampaignOptions"):
        client.push_many([], options=options)
    with pytest.raises(ConfigError, match="CampaignOptions"):
        client.resume("campaign.db", options=options)


@pytest.mark.parametrize("journal", [None, "memory:", 7, ""])
def test_only_a_path_can_be_resumed(journal: Any) -> None:
    client = TruecallerClient(client_account_id="00000000-0000-4000-8000-000000000000", key_id="key", api_key="secret")
    with pytest.raises(ConfigError, match="journal is"):
        client.resume(journal)


def test_campaign_reports_its_position() -> None:
    async def main() -> None:
        world = World()
        stream = world.client.push_many([record(1), record(2)])
        assert repr(stream) == "<CampaignStream, not started>"
        async with world.client, stream:
            async for _ in stream:
                pass
        assert repr(stream) == "<CampaignStream, done: 2 of 2 rows have their result>"

    run_virtual(main)


async def test_refused_campaign_closes_its_input_and_leaves_the_journal_locked(tmp_path: Path) -> None:
    closed = []

    class Calls(CsvSource):
        def _rows(self, after: SourcePosition | None) -> Generator[Row, None, None]:
            try:
                yield from super()._rows(after)
            finally:
                closed.append(True)

    (tmp_path / "calls.csv").write_text("caller,receiver,starts_at,ends_at\n911234567898,919876543210,1,2\n")
    source = Calls(tmp_path / "calls.csv", None, {})
    world, journal = World(), MemoryJournal(resumable=True)
    await journal.open(is_new=True)
    async with world.client:
        stream = stream_of(world, journal, source)
        with pytest.raises(JournalBusy):
            await stream.__aenter__()
    assert closed == [True]
    with pytest.raises(JournalBusy):
        await journal.open(is_new=True)
