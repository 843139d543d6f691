"""Nothing but `CampaignState.apply` changes the state of a campaign: every assignment is watched."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from tests.campaign.crashing import Death, Survivor, live
from tests.campaign.test_poison import STRANGE
from tests.campaign.world import LABEL, World, record
from truecaller_async import CampaignOptions
from truecaller_async.campaign.core.batch import CampaignBatch, Isolation
from truecaller_async.campaign.core.campaign_state import CampaignState, RunFacts
from truecaller_async.models import Request
from truecaller_async.sandbox import SandboxSettings, SandboxState

WRITERS = {"truecaller_async.campaign.core.campaign_state", "truecaller_async.campaign.core.batch"}
CLASSES = (CampaignState, CampaignBatch, Isolation, RunFacts)
CACHED = {"_open_content", "_sent_content"}
"""Fields that are computed from others when they are read."""


@pytest.fixture
def foreign_writes(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Return the assignments to the state from other modules, as they happen."""
    found: set[str] = set()

    def watched(target: object, name: str, value: Any) -> None:
        frame = sys._getframe(1)
        module = frame.f_globals.get("__name__", "")
        is_constructor = frame.f_code.co_name == "__init__" and frame.f_code.co_filename.startswith("<attrs")
        if module not in WRITERS and not is_constructor and name not in CACHED:
            found.add(f"{module}: {type(target).__name__}.{name}")
        object.__setattr__(target, name, value)

    for kind in CLASSES:
        monkeypatch.setattr(kind, "__setattr__", watched)
    return found


def lost_at_times(request: Request, number: int, _: object) -> str | None:
    return "lost_before" if request.call == "submit" and number % 3 == 1 else None


@pytest.mark.parametrize("policy", ["resend", "hold"])
def test_only_apply_changes_the_state(foreign_writes: set[str], policy: Any) -> None:
    state, survivor = SandboxState(SandboxSettings()), Survivor()
    rows = [record(number, label_id=STRANGE if number % 700 == 0 else LABEL) for number in range(1, 1_500)]
    options = CampaignOptions(policy, linger=0.1)
    _, now = live(lambda: World(state=state, fault=lost_at_times), survivor, rows, options, death=Death(12, kept=True))
    live(lambda: World(state=state), survivor, rows, options, start=now + 1)
    assert foreign_writes == set()


def test_an_assignment_from_elsewhere_is_found(foreign_writes: set[str]) -> None:
    CampaignState().last_seq = 7
    assert foreign_writes == {f"{__name__}: CampaignState.last_seq"}
