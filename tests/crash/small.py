"""The engine's figures made small, so that a short campaign has many batches and is killed between any two of them.

Nothing else is changed: what runs is the library, and the real command line.
"""

from __future__ import annotations

from functools import partial

from truecaller_async.cli.commands import campaign_run
from truecaller_async.engine import run
from truecaller_async.options import CampaignOptions, PollPolicy
from truecaller_async.planning.chunker import Chunker


def make_batches_small(size: int) -> None:
    """Batches of `size` records in this process."""
    setattr(run, "Chunker", partial(Chunker, size))  # noqa: B010 - a name that mypy holds for a class


def make_campaigns_quick(first: float, cap: float, max_unresolved: int) -> None:
    """Campaigns of the command line poll from `first` seconds on, and read only so many rows ahead."""
    setattr(campaign_run, "PollPolicy", partial(PollPolicy, first=first, cap=cap))  # noqa: B010
    setattr(campaign_run, "CampaignOptions", partial(CampaignOptions, max_unresolved=max_unresolved))  # noqa: B010
