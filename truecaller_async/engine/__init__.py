"""The batch engine: a source in, one honest result for each record out.

`CampaignStream` is what a user holds, made from an `CampaignRequest`. Behind it stands a `Run`, the state that
everybody in this room shares, begun anew or from a journal (`beginning`, `recall`, `resumption`). Around it are four
workers that know nothing of each other: `intake` reads the source, `lanes` hand work to tokens, `sender` posts batches
and follows what becomes of them, `poller` asks until every record is final. They decide nothing that `planning` could
decide, and they meet only in the run's schedule, tally and outlet.
"""

from truecaller_async.engine.run import CampaignDeps
from truecaller_async.engine.start import CampaignRequest
from truecaller_async.engine.stream import CampaignStream

__all__ = ["CampaignDeps", "CampaignRequest", "CampaignStream"]
