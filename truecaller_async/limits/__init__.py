"""Limiters: implementations of the `Limiter` port."""

from truecaller_async.limits.local_limiter import LocalLimiter

__all__ = ["LocalLimiter"]
