"""Define the figures of a campaign: while it runs (`Progress`) and at its end (`Summary`)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import attrs


@attrs.frozen
class RunCost:
    """The requests and the time of one run of a campaign. `elapsed` is in seconds."""

    requests: Mapping[str, int] = attrs.field(factory=dict)
    """Number of HTTP requests by call, such as "submit" or "status"."""
    retries: int = 0
    """Number of requests that repeated an earlier one."""
    throttled: int = 0
    """Number of answers with status 429."""
    tokens_minted: int = 0
    """Number of access tokens that were created."""
    elapsed: float = 0.0
    """Duration of the run in seconds."""
    empty_polls: int = 0
    """Number of status requests that found no record final that was not final before."""


@attrs.frozen
class Summary:
    """The outcome counts and the cost of a campaign, over all of its runs. Durations are in seconds.

    At any end: `read == delivered + failed + invalid + expired + duplicate + unknown + unsent`. The cost of a run that
    was killed is known up to about one second before its end.
    """

    read: int = 0
    """Number of records read from the source."""
    delivered: int = 0
    """Number of records that the server delivered."""
    failed: int = 0
    """Number of records that the server rejected or could not deliver."""
    invalid: int = 0
    """Number of records that broke a rule and were not sent."""
    expired: int = 0
    """Number of records whose window closed before they could be sent."""
    duplicate: int = 0
    """Number of records with the content of an earlier row."""
    unknown: int = 0
    """Number of records that were sent and have no known outcome."""
    unsent: int = 0
    """Number of records that were not sent because the run stopped."""
    batches: int = 0
    """Number of batches that the server accepted."""
    requests: Mapping[str, int] = attrs.field(factory=dict)
    """Number of HTTP requests by call, such as "submit" or "status"."""
    retries: int = 0
    """Number of requests that repeated an earlier one."""
    throttled: int = 0
    """Number of answers with status 429."""
    tokens_minted: int = 0
    """Number of access tokens that were created."""
    possibly_duplicated: int = 0
    """Number of results with `possibly_duplicated`."""
    elapsed: float = 0.0
    """Duration of all runs together, in seconds."""
    records_per_second: float = 0.0
    """Records that were sent and have their outcome, per second of `elapsed`."""
    rate_utilisation: float | None = None
    """Used fraction (0 to 1) of the permitted rate of batches, between the first and the last batch of this run.

    None if the run sent too few batches.
    """
    runs: int = 1
    """Number of runs: 1, and one more for each resume."""
    this_run: RunCost = RunCost()
    """Cost of the latest run."""

    @property
    def adds_up(self) -> bool:
        """Return whether every record read has exactly one outcome."""
        return self.read == (
            self.delivered + self.failed + self.invalid + self.expired + self.duplicate + self.unknown + self.unsent
        )


@attrs.frozen
class Progress:
    """The state of a campaign at one moment. Counts are records; durations are in seconds."""

    read: int = 0
    """Number of records read from the source."""
    planned: int = 0
    """Number of records that wait to be sent."""
    in_flight: int = 0
    """Number of records in requests that have no answer yet."""
    pending: int = 0
    """Number of records that were accepted and have no outcome yet."""
    resolved: int = 0
    """Number of records that have their outcome."""
    sent: int = 0
    """Number of records that the server accepted."""
    outcomes: Mapping[str, int] = attrs.field(factory=dict)
    """Number of records by outcome."""
    reasons: Mapping[str, int] = attrs.field(factory=dict)
    """Number of records that were not delivered, by reason."""
    tokens_live: int = 0
    """Number of access tokens that can be used."""
    tokens_cooling_down: int = 0
    """Number of access tokens that are not used for a time after a 429."""
    tokens_max: int = 0
    """Maximum number of access tokens."""
    rate: float = 0.0
    """Records per second that were accepted in the last 10 seconds."""
    permitted_rate: float = 0.0
    """Records per second that the limits permit with the live tokens."""
    throttled: int = 0
    """Number of answers with status 429."""
    elapsed: float = 0.0
    """Duration of this run in seconds."""
    waiting_until: datetime | None = None
    """Earliest time at which anything can be sent, None if that is now."""
    limited_by: str | None = None
    """Cause that limits the rate, or None.

    - "service": it does not answer, or the circuit breaker or the retry budget restricts requests.
    - "limits": the rate limits of the live tokens.
    - "source": the source has no row ready.
    - "reader": the caller does not take the results fast enough; more than half of `max_unresolved` wait.
    - "max_unresolved": so many rows are read and not delivered, most of them without a result.
    """
    finished: bool = False
    """Whether the run has ended."""
