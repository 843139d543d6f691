"""Tokens: the pool that lends them, and the stores that keep them."""

from truecaller_async.tokens.memory import MemoryTokenStore
from truecaller_async.tokens.pool import Claims, TokenPool
from truecaller_async.tokens.sqlite import SqliteTokenStore

__all__ = ["Claims", "MemoryTokenStore", "SqliteTokenStore", "TokenPool"]
