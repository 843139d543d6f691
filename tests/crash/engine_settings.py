"""Reduce batch sizes and polling intervals, so that a short campaign has many batches.

Nothing else of the library and of the command line is changed.
"""

from __future__ import annotations

from functools import partial

from truecaller_async.campaign import intake
from truecaller_async.campaign.rows.chunker import Chunker
from truecaller_async.cli.commands import campaign_run
from truecaller_async.options import CampaignOptions, PollPolicy


def make_batches_small(size: int) -> None:
    """Make batches of `size` records in this process."""
    setattr(intake, "Chunker", partial(Chunker, size))  # noqa: B010 - for mypy the name is a class


def make_polls_frequent(first: float, cap: float, max_unresolved: int) -> None:
    """Let campaigns of the command line poll every `first` to `cap` seconds and read few rows ahead."""
    setattr(campaign_run, "PollPolicy", partial(PollPolicy, first=first, cap=cap))  # noqa: B010
    setattr(campaign_run, "CampaignOptions", partial(CampaignOptions, max_unresolved=max_unresolved))  # noqa: B010
