"""Storing and handling of events, without an HTTP server."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import threading
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import attrs
import pytest

from truecaller_async.clock import Clock
from truecaller_async.errors import ConfigError, JournalError
from truecaller_async.options import RetryPolicy
from truecaller_async.webhooks import Event, WebhookOptions, WebhookReceiver
from truecaller_async.webhooks.event_queries import VERSION
from truecaller_async.webhooks.worker import EXTRA_CRASH_ATTEMPTS

from .servers import BUSINESS, CLIENT, FAST_RETRIES, KEY, RecordingHandler, call_me_back, ignore, receiver

HOUR = 3600


class SetClock(Clock):
    """Wall clock that changes only if the test sets it."""

    def __init__(self) -> None:
        self.now = 1_760_000_000.0

    def wall(self) -> float:
        return self.now


class StepBack(SetClock):
    """A clock a step behind another: it tells what that one said the last time."""

    def __init__(self, of: SetClock) -> None:
        self._of, self._said = of, of.now

    def wall(self) -> float:
        said, self._said = self._said, self._of.now
        return said


async def wait_for_counts(of: WebhookReceiver, **wanted: int) -> None:
    """Wait until the counters have these values."""
    while wanted.items() - attrs.asdict(await of.stats()).items():  # noqa: ASYNC110 - each check awaits the store
        await asyncio.sleep(0)


def first_row(path: Path, text: str) -> tuple[Any, ...]:
    with sqlite3.connect(path) as db:
        row: tuple[Any, ...] = db.execute(text).fetchone()
    db.close()
    return row


async def test_events_of_one_number_are_handled_in_created_at_order() -> None:
    seen: list[str] = []
    begun, go = asyncio.Event(), asyncio.Event()

    async def slow(event: Event) -> None:
        seen.append(event.event_id)
        begun.set()
        await go.wait()

    async with receiver(slow) as of:
        await of.accept(call_me_back("first", 1000))
        await begun.wait()
        for created in (1004, 1002, 1005, 1003, 1001):
            await of.accept(call_me_back(f"e-{created}", created))
        go.set()
        await wait_for_counts(of, handled=6)
    assert seen == ["first", "e-1001", "e-1002", "e-1003", "e-1004", "e-1005"]


async def test_hanging_handler_of_one_number_does_not_block_the_others() -> None:
    recorder, never = RecordingHandler(), asyncio.Event()

    async def handler(event: Event) -> None:
        if event.raw["cmb_payload"]["business_number"] == BUSINESS:
            await never.wait()
        await recorder(event)

    async with receiver(handler, options=WebhookOptions(concurrency=2, finish_within=0)) as of:
        for number in range(5):
            await of.accept(call_me_back(f"hanging-{number}"))
        for number in range(5):
            await of.accept(call_me_back(f"e-{number}", number, business="919999999999"))
        assert await recorder.until(5) == [f"e-{number}" for number in range(5)]


async def test_lanes_take_turns_if_they_outnumber_the_handlers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("truecaller_async.webhooks.worker.LANE_TURN_EVENTS", 2)
    recorder, begun, go = RecordingHandler(), asyncio.Event(), asyncio.Event()

    async def handler(event: Event) -> None:
        begun.set()
        await go.wait()
        await recorder(event)

    async with receiver(handler, options=WebhookOptions(concurrency=1)) as of:
        await of.accept(call_me_back("first", business="1"))
        await begun.wait()
        for number in range(3):
            for lane in ("1", "2", "3"):
                await of.accept(call_me_back(f"{lane}-{number}", number, business=lane))
        go.set()
        order = await recorder.until(10)
    assert order == ["first", "1-0", "2-0", "2-1", "3-0", "3-1", "1-1", "1-2", "2-2", "3-2"]


async def test_event_of_another_number_is_handled_before_a_long_lane_ends() -> None:
    recorder, begun, go = RecordingHandler(), asyncio.Event(), asyncio.Event()

    async def handler(event: Event) -> None:
        begun.set()
        await go.wait()
        await recorder(event)

    async with receiver(handler, options=WebhookOptions(concurrency=1)) as of:
        for number in range(300):
            await of.accept(call_me_back(f"long-{number}", number, business="1"))
        await begun.wait()
        await of.accept(call_me_back("short", business="2"))
        go.set()
        assert (await recorder.until(301)).index("short") < 200


@pytest.mark.parametrize("kind", ["coroutine function", "function", "object", "function that gives an awaitable"])
async def test_handler_may_be_of_any_kind_and_a_plain_one_may_block(kind: str) -> None:
    recorder = RecordingHandler()
    loop, home = asyncio.get_running_loop(), threading.current_thread()

    def blocking(event: Event) -> None:
        assert threading.current_thread() is not home
        asyncio.run_coroutine_threadsafe(recorder(event), loop).result(10)

    handlers: dict[str, Any] = {
        "coroutine function": recorder.__call__,
        "object": recorder,
        "function": blocking,
        "function that gives an awaitable": lambda event: recorder(event),
    }
    async with receiver(handlers[kind]) as of:
        await of.accept(call_me_back("e-1"))
        assert await recorder.until(1) == ["e-1"]
        await wait_for_counts(of, handled=1, failed=0)


async def test_failing_handler_is_retried_then_parked_and_released(
    caplog: pytest.LogCaptureFixture,
) -> None:
    calls: list[str] = []
    mended = False

    async def handler(event: Event) -> None:
        calls.append(event.event_id)
        if not mended:
            raise RuntimeError(f"cannot reach {CLIENT}")

    async with receiver(handler) as of:
        await of.accept(call_me_back("e-1"))
        await wait_for_counts(of, parked=1)
        assert (await of.stats()).failed == len(calls) == FAST_RETRIES.retry.attempts
        (parked,) = await of.parked()
        assert (parked.event_id, parked.attempts) == ("e-1", 3)
        assert "RuntimeError: cannot reach ********0007" in parked.error
        assert CLIENT not in repr(parked) + caplog.text
        mended = True
        assert await of.release("another") == 0
        assert await of.release("e-1") == 1
        await wait_for_counts(of, handled=1, parked=0, waiting=0)
    assert "event parked after 3 attempts" in caplog.text


async def test_cancelled_error_of_a_handler_is_an_ordinary_failure() -> None:
    async def handler(event: Event) -> None:
        raise asyncio.CancelledError

    async with receiver(handler) as of:
        await of.accept(call_me_back("e-1"))
        await wait_for_counts(of, parked=1, failed=3)


async def test_handler_that_never_returns_fails_after_its_timeout() -> None:
    async def handler(event: Event) -> None:
        if event.event_id == "e-1":
            await asyncio.Event().wait()

    quick = attrs.evolve(FAST_RETRIES, concurrency=1, handle_within=0.01)
    async with receiver(handler, options=quick) as of:
        await of.accept(call_me_back("e-1"))
        await of.accept(call_me_back("e-2", business="919999999999"))
        await wait_for_counts(of, parked=1, failed=3, handled=1)
        assert "TimeoutError" in (await of.parked())[0].error


class OwnFault(BaseException):
    """Neither an Exception nor able to say what it is."""

    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize("fault", [SystemExit, OwnFault])
async def test_any_handler_exception_is_a_failure_and_the_next_event_is_handled(fault: type[BaseException]) -> None:
    async def handler(event: Event) -> None:
        if event.event_id == "e-1":
            raise fault

    async with receiver(handler) as of:
        await of.accept(call_me_back("e-1"))
        await of.accept(call_me_back("e-2"))
        await wait_for_counts(of, parked=1, failed=3, handled=1)
        assert fault.__name__ in (await of.parked())[0].error


async def test_event_that_kills_the_process_repeatedly_is_parked(tmp_path: Path) -> None:
    store, recorder = tmp_path / "webhooks.db", RecordingHandler()
    begun = asyncio.Event()

    async def deadly(event: Event) -> None:
        begun.set()
        await asyncio.Event().wait()

    retry = RetryPolicy(attempts=1)
    for _ in range(1 + EXTRA_CRASH_ATTEMPTS):  # a cancelled handler leaves the same state as a dead process
        begun.clear()
        async with receiver(deadly, store, options=WebhookOptions(retry=retry, finish_within=0)) as of:
            await of.accept(call_me_back("deadly"))
            await begun.wait()
    async with receiver(recorder, store, options=WebhookOptions(retry=retry)) as of:
        await of.accept(call_me_back("next", 1_753_945_999))
        assert await recorder.until(1) == ["next"]
        assert [event.event_id for event in await of.parked()] == ["deadly"]
        assert "process died" in (await of.parked())[0].error
        await of.release()
        assert await recorder.until(2) == ["next", "deadly"]


async def test_clock_set_back_does_not_delay_a_retry() -> None:
    clock, recorder = SetClock(), RecordingHandler()

    async def handler(event: Event) -> None:
        await recorder(event)
        if len(recorder.seen) == 1:
            clock.now -= 365 * 24 * HOUR
            raise RuntimeError

    async with receiver(handler, clock=StepBack(clock), options=FAST_RETRIES) as of:
        await of.accept(call_me_back("e-1"))
        assert await recorder.until(2) == ["e-1", "e-1"]


async def test_event_older_than_the_policy_total_is_parked() -> None:
    clock = SetClock()

    async def handler(event: Event) -> None:
        clock.now += HOUR
        raise RuntimeError

    retry = RetryPolicy(attempts=100, total=2.5 * HOUR, initial=1e-9, cap=1e-9)
    async with receiver(handler, options=WebhookOptions(retry=retry), clock=clock) as of:
        await of.accept(call_me_back("e-1"))
        await wait_for_counts(of, parked=1, failed=3)


async def test_restart_handles_waiting_events_and_remembers_handled_ones(tmp_path: Path) -> None:
    store = tmp_path / "webhooks.db"
    never, recorder = asyncio.Event(), RecordingHandler()

    async def hang(event: Event) -> None:
        if event.event_id != "done":
            await never.wait()

    async with receiver(hang, store, options=WebhookOptions(finish_within=0)) as of:
        await of.accept(call_me_back("done", business="1"))
        await wait_for_counts(of, handled=1)
        for number in range(3):
            await of.accept(call_me_back(f"e-{number}", number))
    async with receiver(recorder, store) as of:
        await of.accept(call_me_back("done", business="1"))
        assert await recorder.until(3) == ["e-0", "e-1", "e-2"]
        await wait_for_counts(of, handled=4, received=5, duplicates=1, possibly_duplicated=1, waiting=0)
    assert recorder.seen == ["e-0", "e-1", "e-2"]


async def test_stop_finishes_ready_events_and_accepts_no_more() -> None:
    recorder = RecordingHandler()
    of = receiver(recorder)
    await of.start()
    for number in range(50):
        await of.accept(call_me_back(f"e-{number}", number))
    await of.aclose()
    assert len(recorder.seen) == 50
    assert (await of.accept(call_me_back("late"))).status == 503
    await of.aclose()


async def test_stop_with_an_unwritable_store_still_records_the_end(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("truecaller_async.webhooks.worker.POLL_INTERVAL_SECONDS", 0.001)
    begun, go = asyncio.Event(), asyncio.Event()

    async def handler(event: Event) -> None:
        begun.set()
        await go.wait()

    of = receiver(handler)
    await of.start()
    store = of._store
    assert store is not None
    await of.accept(call_me_back("e-1"))
    await begun.wait()
    stop = asyncio.create_task(of.aclose())
    for on in (1, 0):
        await store._worker.run(lambda db, on=on: db.execute(f"PRAGMA query_only={on}"))  # type: ignore[misc]
        go.set()
        while "is not stored yet" not in caplog.text:  # noqa: ASYNC110 - no event signals a log record
            await asyncio.sleep(0)
    await stop
    stats = await of.stats()
    assert (stats.handled, stats.waiting) == (1, 0)


async def test_one_of_two_receivers_on_a_store_handles_and_the_other_takes_over(tmp_path: Path) -> None:
    first, second = RecordingHandler(), RecordingHandler()
    store = tmp_path / "webhooks.db"
    async with receiver(first, store) as owner:
        await owner.accept(call_me_back("e-1"))
        await first.until(1)
        async with receiver(second, store) as other:
            await other.accept(call_me_back("e-1"))
            await other.accept(call_me_back("e-2"))
            await first.until(2)
            await wait_for_counts(other, handled=2, received=3, duplicates=1)
            await owner.aclose()
            await other.accept(call_me_back("e-3"))
            await second.until(1)
    assert (first.seen, second.seen) == (["e-1", "e-2"], ["e-3"])


@pytest.mark.fault("S30")
@pytest.mark.parametrize(("age", "repeated"), [(79 * HOUR, False), (6.9 * 24 * HOUR, False), (7.1 * 24 * HOUR, True)])
async def test_event_is_remembered_for_a_week_and_older_ones_are_accepted(
    age: float, repeated: bool, tmp_path: Path
) -> None:
    clock, recorder = SetClock(), RecordingHandler()
    body = call_me_back("e-1", int(clock.now - 79 * HOUR))
    async with receiver(recorder, tmp_path / "webhooks.db", clock=clock) as of:
        await of.accept(body)
        await wait_for_counts(of, handled=1)
    clock.now += age
    async with receiver(recorder, tmp_path / "webhooks.db", clock=clock) as of:
        await of.accept(body)
        while repeated and len(recorder.seen) < 2:
            await of.accept(body)
    assert recorder.seen == (["e-1", "e-1"] if repeated else ["e-1"])


async def test_handled_events_are_remembered_up_to_the_bound(tmp_path: Path) -> None:
    store, clock = tmp_path / "webhooks.db", SetClock()
    async with receiver(ignore, store, clock=clock) as of:
        for number in range(20):
            clock.now += 1
            await of.accept(call_me_back(f"e-{number}"))
        await wait_for_counts(of, handled=20)
    async with receiver(ignore, store, options=WebhookOptions(keep_at_most=5), clock=clock):
        pass
    assert first_row(store, "SELECT GROUP_CONCAT(event_id) FROM event") == ("e-15,e-16,e-17,e-18,e-19",)


async def test_file_is_private_and_has_no_number_of_a_handled_event(tmp_path: Path) -> None:
    store = tmp_path / "deep" / "webhooks.db"
    async with receiver(RecordingHandler(), store) as of:
        await of.accept(call_me_back("e-1"))
        await wait_for_counts(of, handled=1)
    assert stat.S_IMODE(store.stat().st_mode) == 0o600
    assert stat.S_IMODE(store.parent.stat().st_mode) == 0o700
    assert CLIENT.encode() not in b"".join(path.read_bytes() for path in store.parent.iterdir())
    assert first_row(store, "SELECT event_id, body FROM event") == ("e-1", None)


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX")
async def test_file_that_others_can_read_a_link_and_a_newer_file_are_refused(tmp_path: Path) -> None:
    (shared := tmp_path / "shared.db").touch(0o644)
    shared.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        await receiver(store=shared).start()
    (link := tmp_path / "link.db").symlink_to(tmp_path / "target.db")
    with pytest.raises(ConfigError, match="cannot be opened"):
        await receiver(store=link).start()
    newer = tmp_path / "newer.db"
    async with receiver(store=newer):
        pass
    with sqlite3.connect(newer) as db:
        db.execute("PRAGMA user_version=99")
    db.close()
    with pytest.raises(ConfigError, match="newer version"):
        await receiver(store=newer).start()
    (text := tmp_path / "text.db").write_bytes(b"no database at all, " * 100)
    text.chmod(0o600)
    with pytest.raises(ConfigError, match="cannot be used"):
        await receiver(store=text).start()


async def test_sqlite_settings_survive_power_loss_and_erase_numbers(tmp_path: Path) -> None:
    async with receiver(store=tmp_path / "webhooks.db") as of:
        assert of._store is not None
        names = ("journal_mode", "synchronous", "secure_delete", "user_version")
        found = [
            await of._store.run(lambda db, name=name: db.execute(f"PRAGMA {name}").fetchone()[0])  # type: ignore[misc]
            for name in names
        ]
    assert found == ["wal", 2, 1, VERSION]


async def test_new_file_being_read_by_another_process_is_retried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (path := tmp_path / "webhooks.db").touch(0o600)
    monkeypatch.setattr("truecaller_async.storage.sqlite_worker.BUSY_SECONDS", 0.05)
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.executescript("CREATE TABLE another(x); BEGIN; SELECT * FROM another;")
    assert other.execute("SELECT COUNT(*) FROM another").fetchone() == (0,)
    monkeypatch.setattr("truecaller_async.storage.sqlite_worker.time.sleep", lambda seconds: other.execute("ROLLBACK"))
    async with receiver(store=path) as of:
        assert (await of.accept(call_me_back("e-1"))).status == 200
    assert not other.in_transaction
    other.close()


async def test_file_that_another_process_keeps_locked_is_a_config_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("truecaller_async.storage.sqlite_worker.BUSY_SECONDS", 0.05)
    store = tmp_path / "webhooks.db"
    async with receiver(store=store):
        pass
    other = sqlite3.connect(store, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(ConfigError, match="locked"):
        await receiver(store=store).start()
    other.close()


async def test_without_a_store_named_a_file_in_the_users_state_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    async with WebhookReceiver(RecordingHandler(), [KEY]):
        assert (tmp_path / "truecaller" / "webhooks.db").exists()


@pytest.mark.parametrize("store", ["", "redis://host", "webhooks.db", 7, Path()])
def test_store_of_another_kind_is_a_config_error(store: Any) -> None:
    with pytest.raises(ConfigError, match="store must be"):
        WebhookReceiver(RecordingHandler(), [KEY], store)


@pytest.mark.parametrize(
    "invalid",
    [
        {"concurrency": 0},
        {"concurrency": True},
        {"finish_within": -1},
        {"handle_within": 0},
        {"finish_within": float("nan")},
        {"keep_for": "a week"},
        {"retry": 3},
    ],
)
def test_invalid_numbers_are_config_errors(invalid: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(invalid))):
        WebhookOptions(**invalid)


async def test_closed_receiver_raises_and_answers_503(caplog: pytest.LogCaptureFixture) -> None:
    of = receiver()
    with pytest.raises(JournalError, match="async with"):
        await of.stats()
    assert (await of.accept(call_me_back("e-1"))).status == 503
    assert "async with receiver" in caplog.text


async def test_event_with_an_extreme_timestamp_is_kept_and_handled() -> None:
    recorder = RecordingHandler()
    async with receiver(recorder) as of:
        for number, created in enumerate(["", "99999999999999999", "253402300799", "-5", "NA"]):
            assert (await of.accept(call_me_back(f"e-{number}", created_at=created))).status == 200  # type: ignore[arg-type]
        assert len(await recorder.until(5)) == 5


async def test_parked_events_have_their_arrival_time() -> None:
    clock = SetClock()

    def handler(event: Event) -> None:
        raise RuntimeError

    options = WebhookOptions(retry=RetryPolicy(attempts=1))
    async with receiver(handler, options=options, clock=clock) as of:
        await of.accept(call_me_back("e-1"))
        await wait_for_counts(of, parked=1)
        assert (await of.parked())[0].received_at == datetime.fromtimestamp(clock.now, UTC)


def open_and_close(path: str) -> None:
    """Open and close the store in a separate process, as a worker of a server does."""

    async def live() -> None:
        async with receiver(store=Path(path)) as of:
            assert (await of.accept(call_me_back("e-1"))).status == 200

    asyncio.run(live())


async def test_several_processes_may_open_one_new_store_at_the_same_moment(tmp_path: Path) -> None:
    store = tmp_path / "webhooks.db"
    with ProcessPoolExecutor(4, mp_context=get_context("spawn")) as processes:
        loop = asyncio.get_running_loop()
        await asyncio.gather(*(loop.run_in_executor(processes, open_and_close, str(store)) for _ in range(8)))
    async with receiver(store=store) as of:
        await wait_for_counts(of, received=8, duplicates=7, handled=1)


async def test_an_act_that_fails_undoes_itself_only_and_the_next_one_works() -> None:
    def broken(db: sqlite3.Connection) -> None:
        db.execute("INSERT INTO counter(name, value) VALUES ('received', 1000)")
        raise OverflowError

    async with receiver() as of:
        assert of._store is not None
        ended = await asyncio.gather(of.accept(call_me_back("e-1")), of._store.run(broken), return_exceptions=True)
        assert getattr(ended[0], "status", None) == 200
        assert isinstance(ended[1], JournalError)
        assert (await of.accept(call_me_back("e-1"))).status == 200
        await wait_for_counts(of, received=2, duplicates=1)
