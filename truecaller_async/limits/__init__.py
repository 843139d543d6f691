"""Limiters: adapters of the `Limiter` port."""

from truecaller_async.limits.local import LocalLimiter

__all__ = ["LocalLimiter"]
