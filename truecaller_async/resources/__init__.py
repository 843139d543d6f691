"""The calls of the API, grouped as a user thinks of them."""

from truecaller_async.resources.batches import Batches
from truecaller_async.resources.calls import Calls
from truecaller_async.resources.exchange import Exchange, Service, Settings

__all__ = ["Batches", "Calls", "Exchange", "Service", "Settings"]
