"""Run a campaign: read records from a source, send them in batches, return one result per record.

`CampaignStream` is the object the caller uses; it is made from a `CampaignRequest`. A `Run` holds the state that all
modules of this package share. It starts empty (`start`) or from a journal (`source_check`, `resume`).

Four components work on a `Run` and do not call each other directly, except where a function is passed in:

- `intake` reads the source and plans batches.
- `dispatcher` runs one worker per token and starts requests.
- `sender` posts batches and handles the answers.
- `poller` requests the status of accepted batches.

Decisions without I/O are in `planning`. The components meet in the run's work queue, counters and result queue.
"""

from truecaller_async.engine.run import CampaignDeps
from truecaller_async.engine.start import CampaignRequest
from truecaller_async.engine.stream import CampaignStream

__all__ = ["CampaignDeps", "CampaignRequest", "CampaignStream"]
