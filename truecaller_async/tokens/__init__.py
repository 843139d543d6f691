"""Access tokens: the pool that lends them, and the stores that keep them."""

from truecaller_async.tokens.memory_store import MemoryTokenStore
from truecaller_async.tokens.mint_budget import MintBudgetClaim
from truecaller_async.tokens.pool import TokenPool
from truecaller_async.tokens.sqlite_store import SqliteTokenStore
from truecaller_async.tokens.token_permit import TokenPermit

__all__ = ["MemoryTokenStore", "MintBudgetClaim", "SqliteTokenStore", "TokenPermit", "TokenPool"]
