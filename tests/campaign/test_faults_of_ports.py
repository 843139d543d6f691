"""Every step of every port fails in turn: each run ends in good order, and its journal can be resumed."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.campaign.durable_memory import DurableMemory
from tests.campaign.faulty_ports import (
    REJECTED,
    ROWS,
    RUN_SECONDS_MAX,
    Defect,
    RunEnd,
    Steps,
    WatchedLoop,
    rows,
    run_to_end,
    slow_rows,
    world_with,
)
from tests.throttling.conftest import make_batches_small
from truecaller_async import ConfigError, JournalError, NotSent, Outcome, ResponseLost, SourceError
from truecaller_async.sandbox import SandboxState

OWN_ERRORS: dict[str, Callable[[], BaseException]] = {
    "journal": lambda: JournalError("the disk is full"),
    "store": lambda: ConfigError("the state file is busy"),
    "transport": lambda: ResponseLost("the connection broke"),
    "source": lambda: SourceError("row 3 cannot be read"),
    "observer": lambda: ValueError("not the right name"),
}
"""For each port an error that it may raise."""


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    make_batches_small(monkeypatch)


def play(steps: Steps, disk: DurableMemory, state: SandboxState | None, start: float = 0.0) -> tuple[RunEnd, float]:
    """Run one process with these ports; check that it leaves no task and no exception behind."""
    loop = WatchedLoop(start)

    async def main() -> tuple[RunEnd, SandboxState]:
        world = world_with(steps, state)
        async with asyncio.timeout(RUN_SECONDS_MAX):
            return await run_to_end(world, steps, disk, slow_rows(steps)), world.state

    try:
        ending, made = loop.run_until_complete(main())
        assert not asyncio.all_tasks(loop)
        end = loop.time()
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
    assert loop.reports == [], loop.reports
    STATES[disk] = made
    return ending, end


STATES: dict[DurableMemory, SandboxState] = {}


def check_end(ending: RunEnd, steps: Steps, disk: DurableMemory) -> None:
    """Check law 2 at the end of one run."""
    if ending.stream._run is None:  # it did not begin
        assert ending.fault is not None
        return
    summary = ending.stream.summary
    assert sorted(result.row for result in ending.results) == list(range(1, summary.read + 1))
    assert summary.adds_up
    for outcome in Outcome:
        assert sum(result.outcome is outcome for result in ending.results) == getattr(summary, outcome)
    assert {result.row for result in ending.results if result.final} <= disk.words.keys()
    if ending.fault is None:
        assert summary.read == ROWS


def check_resume(first: RunEnd, disk: DurableMemory, state: SandboxState, start: float) -> None:
    """Check that a later run without faults gives the remaining rows their outcome, and changes no final one."""
    if disk.state.started is None:
        return
    settled = set(disk.words)
    second, _ = play(Steps("none"), disk, state, start)
    assert second.fault is None
    assert second.stream.summary.adds_up
    assert second.stream.summary.read == ROWS
    assert disk.state.complete
    assert {result.row for result in second.results}.isdisjoint(settled)
    assert disk.words.keys() == set(range(1, ROWS + 1))


def steps_of(port: str) -> int:
    """Return the number of steps of a port in a run without a fault."""
    steps, disk = Steps(port), DurableMemory()
    ending, _ = play(steps, disk, None)
    assert ending.fault is None
    assert ending.stream.summary.delivered == ROWS - REJECTED
    assert ending.stream._run is not None
    assert not ending.stream._run.progress.swept
    return steps.count


def each_fault(port: str, error: Callable[[], BaseException]) -> Iterator[tuple[Steps, RunEnd, Any]]:
    """Run the campaign once for each step of a port at which it may fail, then resume it."""
    count = steps_of(port)
    assert count >= 10
    for number in range(1, count + 1):
        steps, disk = Steps(port, error, number), DurableMemory()
        try:
            ending, end = play(steps, disk, None)
            check_end(ending, steps, disk)
            yield steps, ending, disk
            check_resume(ending, disk, STATES.pop(disk), end + 1.0)
        except BaseException as problem:
            problem.add_note(f"{steps}")
            raise
    gc.collect()  # an exception that was never retrieved is reported now


@pytest.mark.parametrize("port", ["journal", "store", "transport", "source"])
def test_defect_of_a_port_at_any_step_ends_the_run_in_good_order(port: str) -> None:
    for steps, ending, _ in each_fault(port, Defect):
        assert ending.fault is not None or steps.raised is None, steps


@pytest.mark.parametrize("port", ["journal", "store", "transport", "source"])
def test_port_that_is_cancelled_at_any_step_ends_the_run_in_good_order(port: str) -> None:
    for _ in each_fault(port, asyncio.CancelledError):
        pass


def test_failing_journal_ends_the_run_and_loses_no_row() -> None:
    for steps, ending, _ in each_fault("journal", OWN_ERRORS["journal"]):
        assert isinstance(ending.fault, JournalError) or steps.raised is None, steps


@pytest.mark.parametrize("port", ["store", "observer"])
def test_store_or_observer_that_fails_once_costs_no_result(port: str) -> None:
    for steps, ending, _ in each_fault(port, OWN_ERRORS[port]):
        if ending.fault is not None:
            assert port == "store", steps
            assert ending.stream.summary.read == 0 or ending.fault is steps.raised, steps


@pytest.mark.parametrize("error", [OWN_ERRORS["transport"], lambda: NotSent("no route")])
def test_request_that_fails_once_costs_no_row(error: Callable[[], BaseException]) -> None:
    for steps, ending, _ in each_fault("transport", error):
        assert ending.fault is None, steps
        assert {result.outcome for result in ending.results} <= {
            Outcome.DELIVERED,
            Outcome.UNKNOWN,
            Outcome.DUPLICATE,
            Outcome.FAILED,
            Outcome.INVALID,
        }


def test_source_that_fails_keeps_the_rows_before() -> None:
    for steps, ending, _ in each_fault("source", OWN_ERRORS["source"]):
        if steps.raised is not None:
            assert isinstance(ending.fault, SourceError), steps
    assert len(rows()) == ROWS
