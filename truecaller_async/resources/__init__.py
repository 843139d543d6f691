"""Resources of the client, one per group of API calls, and the executor that sends their requests."""

from truecaller_async.resources.api_context import ApiContext
from truecaller_async.resources.batches import Batches
from truecaller_async.resources.calls import Calls
from truecaller_async.resources.executor import ClientSettings, RequestExecutor
from truecaller_async.resources.exports import Exports
from truecaller_async.resources.feature_sets import FeatureSets
from truecaller_async.resources.labels import Labels
from truecaller_async.resources.numbers import Numbers
from truecaller_async.resources.pagination import Listing
from truecaller_async.resources.tokens import Tokens

__all__ = [
    "ApiContext",
    "Batches",
    "Calls",
    "ClientSettings",
    "Exports",
    "FeatureSets",
    "Labels",
    "Listing",
    "Numbers",
    "RequestExecutor",
    "Tokens",
]
