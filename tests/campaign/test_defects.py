"""A defect inside the engine at each call of a function: every row gets one result, and then the defect is raised."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import attrs
import pytest

from tests.campaign.durable_memory import DurableMemory
from tests.campaign.faulty_ports import Defect, Steps
from tests.campaign.test_faults_of_ports import OWN_ERRORS, STATES, check_end, check_resume, play
from tests.throttling.conftest import make_batches_small
from truecaller_async.campaign import lifecycle, outcomes
from truecaller_async.campaign.core.campaign_state import CampaignState
from truecaller_async.campaign.core.pair_order import PairOrder
from truecaller_async.campaign.core.work_queue import WorkQueue
from truecaller_async.campaign.intake import Intake
from truecaller_async.campaign.recorder import Recorder
from truecaller_async.campaign.workers import isolation, poller, sender
from truecaller_async.campaign.workers.dispatcher import Dispatcher
from truecaller_async.campaign.workers.sender import Sender
from truecaller_async.campaign.workers.token_use import TokenUse

FUNCTIONS: dict[str, list[tuple[object, str]]] = {
    "apply": [(CampaignState, "apply")],
    "place": [(WorkQueue, "place")],
    "peek": [(WorkQueue, "peek")],
    "enter": [(WorkQueue, "enter")],
    "pairs": [(PairOrder, "add")],
    "record": [(Recorder, "record")],
    "commit": [(Recorder, "_append")],
    "choose": [(Dispatcher, "_choose")],
    "settle": [(module, "settle_rows") for module in (isolation, poller, sender)],
    "release": [(module, "release_batch") for module in (isolation, lifecycle, poller, sender)],
    "results": [(outcomes, "results_of")],
    "match": [(poller.Poller, "_match_rows")],
    "end": [(Sender, "_record_end")],
    "process": [(Intake, "_process")],
    "plan": [(Intake, "_plan_batch")],
    "isolate": [(isolation.Isolator, "isolate")],
    "growth": [(TokenUse, "consider_growth")],
}
"""Functions by a short name; those of one name are counted together."""


@attrs.define
class Breaker:
    """Raises `Defect` from the chosen calls."""

    first: int = 0
    """Number of the first call that raises; 0: none."""
    always: bool = False
    """Whether all later calls raise too."""
    count: int = 0

    def broken(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function with the defect."""

        def call(*args: Any, **kwargs: Any) -> Any:
            self.count += 1
            is_struck = self.first > 0 and (self.count == self.first or (self.always and self.count > self.first))
            if is_struck:
                raise Defect
            return function(*args, **kwargs)

        return call


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    make_batches_small(monkeypatch)


def play_broken(name: str, breaker: Breaker) -> None:
    """Run a campaign in which these functions have this defect, then resume it without the defect."""
    disk = DurableMemory()
    # Batches are released only in a run that stops.
    steps = Steps("source", OWN_ERRORS["source"], 4) if name == "release" else Steps("none")
    with pytest.MonkeyPatch.context() as patch:
        for owner, attribute in FUNCTIONS[name]:
            patch.setattr(owner, attribute, breaker.broken(getattr(owner, attribute)))
        ending, end = play(steps, disk, None)
    try:
        check_end(ending, steps, disk)
        if breaker.count >= breaker.first > 0 and steps.raised is None:
            assert isinstance(ending.fault, Defect), ending.fault
        check_resume(ending, disk, STATES.pop(disk), end + 1.0)
    except BaseException as problem:
        problem.add_note(f"{name} {breaker}")
        raise


def calls_of(name: str) -> int:
    """Return how often the functions are called in a sound run."""
    breaker = Breaker()
    play_broken(name, breaker)
    return breaker.count


def some(count: int, most: int) -> range:
    """Return at most so many of the numbers 1 to `count`, at equal distances."""
    return range(1, count + 1, -(-count // most))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_defect_at_any_call_costs_no_result(name: str) -> None:
    for number in some(calls_of(name), 40):
        play_broken(name, Breaker(number))
    gc.collect()  # an exception that was never retrieved is reported now


@pytest.mark.parametrize("name", FUNCTIONS)
def test_function_that_is_broken_from_any_call_on_costs_no_result(name: str) -> None:
    for number in some(calls_of(name), 10):
        play_broken(name, Breaker(number, always=True))
    gc.collect()
