"""Tokens: the pool that lends them, and the stores that keep them."""

from truecaller_async.tokens.memory import MemoryTokenStore
from truecaller_async.tokens.pool import TokenPool
from truecaller_async.tokens.sqlite import SqliteTokenStore

__all__ = ["MemoryTokenStore", "SqliteTokenStore", "TokenPool"]
