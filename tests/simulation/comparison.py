"""Compare two states of a campaign, fact by fact."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import attrs

from truecaller_async.campaign.core.batch import CampaignBatch
from truecaller_async.campaign.core.campaign_state import CampaignState, RunFacts
from truecaller_async.campaign.core.row_ranges import RowRanges
from truecaller_async.journal.outcome_kinds import storable_text
from truecaller_async.models.journal_entries import RunStarted

NO_FACTS = frozenset({"content", "_open_content", "_sent_content"})
"""Fields of a batch that are attached, or computed from others."""

NEXT_RUN = RunStarted(0.0, 0, "hold", 0)


def facts_of(state: CampaignState) -> dict[str, Any]:
    """Return the values of a state, in a form in which two states can be compared."""
    facts = {field.name: _plain(getattr(state, field.name)) for field in attrs.fields(CampaignState)}
    facts["batches"] = {str(seq): _batch_facts(batch) for seq, batch in state.batches.items()}
    facts["_children"] = {str(seq): parts for seq, parts in facts["_children"].items() if parts}
    run = facts["run"]
    facts["run"] = {field.name: _plain(getattr(run, field.name)) for field in attrs.fields(RunFacts)}
    facts["run"]["recent_batch_ids"] = set(run.recent_batch_ids._hashes)
    return facts


def facts_at_the_next_run(state: CampaignState) -> dict[str, Any]:
    """Return the facts after the start of another run, which resets what no journal stores.

    It changes the state.
    """
    state.apply(NEXT_RUN)
    return facts_of(state)


def differences(found: Any, known: Any, where: str = "") -> list[str]:
    """Return each place in which the two values differ."""
    if isinstance(found, Mapping) and isinstance(known, Mapping):
        names = {**found, **known}
        return [
            text for name in names for text in differences(found.get(name), known.get(name), f"{where} {name}".strip())
        ]
    return [] if found == known else [f"{where} is {found!r}, and must be {known!r}"]


def _batch_facts(batch: CampaignBatch) -> dict[str, Any]:
    names = [field.name for field in attrs.fields(CampaignBatch) if field.name not in NO_FACTS]
    facts = {name: _plain(getattr(batch, name)) for name in names}
    facts["rows"] = list(batch.rows)
    facts["reason"] = storable_text(batch.reason)  # long numbers in server messages are masked on the disk
    if not batch.open_count:
        # No row of a closed batch is asked for; its closed rows are not complete.
        del facts["closed"], facts["excluded_rows"]
    if batch.isolation is not None:
        facts["isolation"] = attrs.asdict(batch.isolation)
    return facts


def _plain(value: Any) -> Any:
    if isinstance(value, Counter):
        return +value
    return list(value) if isinstance(value, RowRanges) else value
