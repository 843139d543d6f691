"""Hold the parts of one run of a campaign. Each part has one writer; this module only connects them.

- `state` (`CampaignState`): facts. Written by `recorder` only.
- `queue` (`WorkQueue`): times and order. Placed by `recorder`; `dispatcher` takes from it.
- `recorder`: entries, journal, results.
- `progress`: figures of the run.
- `lifecycle`: phase, fault, end.
- `dispatcher` (made by `stream`): workers. It is the only place that chooses work, and the only one that waits.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from random import Random

import attrs

from truecaller_async.campaign.core.campaign_state import CampaignState
from truecaller_async.campaign.core.work_queue import WorkQueue
from truecaller_async.campaign.lifecycle import Lifecycle
from truecaller_async.campaign.progress import RunProgress, TokenRequestCounts
from truecaller_async.campaign.recorder import Recorder
from truecaller_async.campaign.result_queue import ResultQueue
from truecaller_async.clock import Clock
from truecaller_async.options import CampaignOptions, RetryPolicy
from truecaller_async.ports import Journal, Observer
from truecaller_async.resilience.service_guard import Grant, ServiceGuard
from truecaller_async.resources import Batches, Calls
from truecaller_async.tokens import TokenPool

CLOCK_ERROR_MAX_MS = 3_600_000
"""Assumed error of the local clock until the server time is known."""


@attrs.frozen
class CampaignDeps:
    """Dependencies of a run, provided by the client."""

    calls: Calls
    """Call resource, for single pushes."""
    batches: Batches
    """Batch resource, for submissions and status requests."""
    pool: TokenPool
    """Token pool of the client."""
    clock: Clock
    """Local wall clock."""
    rng: Random
    """Random source for jitter."""
    observer: Observer
    """Receiver of events."""
    retry: RetryPolicy
    """Retry policy of the client."""
    guard: ServiceGuard
    """Circuit breaker and retry budget of the client."""
    record_end: Callable[[Grant, BaseException | None], None]
    """Records the end of a request that had a grant: the error, or None for a good answer."""
    server_time: Callable[[], float]
    """Returns the server time, in seconds since the epoch."""
    server_time_is_known: Callable[[], bool]
    """Returns whether a server `Date` was seen; before that, `server_time` is the local clock."""
    requests: Counter[str]
    """Requests of the whole client by call, updated as requests are sent."""
    account: str
    """Client account id."""
    api_version: str
    """API version of the campaign."""

    def server_now_ms(self) -> int:
        """Return the server time, by which windows close, in ms."""
        return int(self.server_time() * 1000)

    def min_now_ms(self) -> int:
        """Return a lower bound of the current server time, in ms.

        Until a server `Date` was seen, assume the local clock may be 1 h fast. Windows that end between this bound and
        `expiry_now_ms()` are checked again just before sending.
        """
        return self.expiry_now_ms() - (0 if self.server_time_is_known() else CLOCK_ERROR_MAX_MS)

    def expiry_now_ms(self) -> int:
        """Return the time at which a window counts as closed, in ms.

        This is the server time. Until it is known, it is the earlier of the local clock and the estimate of the server
        time, so that one wrong `Date` header does not expire records.
        """
        own = int(self.clock.wall() * 1000)
        return self.server_now_ms() if self.server_time_is_known() else min(own, self.server_now_ms())


class Run:
    """The parts of one run. Create it inside a running event loop."""

    def __init__(self, deps: CampaignDeps, options: CampaignOptions, journal: Journal, state: CampaignState) -> None:
        loop = asyncio.get_running_loop()
        self.deps = deps
        """What the client provides."""
        self.options = options
        """Options of the campaign."""
        self.journal = journal
        """Open journal."""
        self.state = state
        """State of the campaign."""
        self.now = loop.time
        """Returns the time of the event loop's clock, in seconds."""
        self.queue = WorkQueue(state, options.poll)
        """Open batches by what is to be done with them."""
        self.results = ResultQueue()
        """Results that wait for the consumer."""
        self.results.delivered_count = state.outcomes.total()
        self.progress = RunProgress(state, lambda: TokenRequestCounts.of(deps.requests, deps.pool), loop.time)
        """Figures of the run."""
        self.recorder = Recorder(state, journal, self.queue, self.results, self.progress)
        """Records entries and results."""
        self.lifecycle = Lifecycle(self.recorder, self.queue, self.results, journal, deps.observer)
        """Phase, fault and end of the run."""
        self.stores_records = False
        """Whether the journal stores the records, because the source cannot be opened again."""

    @property
    def credits(self) -> int:
        """Number of rows that may still be read from the source; may be zero or negative."""
        return self.options.max_unresolved - (self.progress.read - self.results.delivered_count)
