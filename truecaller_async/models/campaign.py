"""The account of a campaign, at its end (`Summary`) and while it runs (`Progress`)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import attrs


@attrs.frozen
class RunCost:
    """What one run of a campaign cost: the figures of the same names in `Summary`. `elapsed` is in seconds.

    `empty_polls` counts the requests for a status that found no record final which was not final before.
    """

    requests: Mapping[str, int] = attrs.field(factory=dict)
    retries: int = 0
    throttled: int = 0
    tokens_minted: int = 0
    elapsed: float = 0.0
    empty_polls: int = 0


@attrs.frozen
class Summary:
    """The account of records, and what it cost: that of the whole campaign, all its runs together.

    `read == delivered + failed + invalid + expired + duplicate + unknown + unsent` at any end. `requests` counts HTTP
    requests by call, `retries` those that repeated an earlier one, `throttled` the answers 429. `elapsed` is in
    seconds, and `records_per_second` counts the records that were sent and have their outcome. `rate_utilisation` is
    the part of the permitted rate of batches that was used between the first batch and the last of this run, None where
    too few were sent to say. `runs` is 1, and one more for each time that the campaign was resumed; `this_run` is the
    cost of the latest of them. What a run that was killed had cost is known up to its last second or so.
    """

    read: int = 0
    delivered: int = 0
    failed: int = 0
    invalid: int = 0
    expired: int = 0
    duplicate: int = 0
    unknown: int = 0
    unsent: int = 0
    batches: int = 0
    requests: Mapping[str, int] = attrs.field(factory=dict)
    retries: int = 0
    throttled: int = 0
    tokens_minted: int = 0
    possibly_duplicated: int = 0
    elapsed: float = 0.0
    records_per_second: float = 0.0
    rate_utilisation: float | None = None
    runs: int = 1
    this_run: RunCost = RunCost()

    @property
    def adds_up(self) -> bool:
        """Whether every record read has exactly one outcome."""
        return self.read == (
            self.delivered + self.failed + self.invalid + self.expired + self.duplicate + self.unknown + self.unsent
        )


@attrs.frozen
class Progress:
    """Where a campaign is at this moment.

    Counts are records: `planned` wait to be sent, `in_flight` are being posted, `pending` are accepted and not yet
    resolved, `resolved` have their outcome. `rate` and `permitted_rate` are records a second, `rate` over the last
    seconds. `reasons` counts failures by reason. `waiting_until` is set while nothing can be sent before that
    instant. `limited_by` names what holds the rate back: "service" (it does not answer well, and is only probed),
    "limits", "source", "reader", "max_unresolved" or None.
    """

    read: int = 0
    planned: int = 0
    in_flight: int = 0
    pending: int = 0
    resolved: int = 0
    sent: int = 0
    outcomes: Mapping[str, int] = attrs.field(factory=dict)
    reasons: Mapping[str, int] = attrs.field(factory=dict)
    tokens_live: int = 0
    tokens_cooling_down: int = 0
    tokens_max: int = 0
    rate: float = 0.0
    permitted_rate: float = 0.0
    throttled: int = 0
    elapsed: float = 0.0
    waiting_until: datetime | None = None
    limited_by: str | None = None
    finished: bool = False
