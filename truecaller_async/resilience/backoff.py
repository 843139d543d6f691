"""How long to wait before the next try.

Full jitter: the wait before retry n is drawn evenly from 0 to `min(cap, initial * 2 ** (n - 1))`. Even draws spread
the retries of many callers over the whole interval, where a fixed wait would bring them back together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from truecaller_async.options import COOLDOWN_MAX_SECONDS

if TYPE_CHECKING:
    from random import Random

THROTTLED_INITIAL_SECONDS = 1.0
THROTTLED_CAP_SECONDS = 30.0
COOLDOWN_JITTER_FACTOR = 0.1
"""A `Retry-After` is stretched by up to this part, so that held tokens do not all come back at once."""

DOUBLINGS_MAX = 32


def full_jitter(retry: int, initial: float, cap: float, rng: Random) -> float:
    """Seconds to wait before retry number `retry` (from 1)."""
    ceiling = min(cap, initial * 2.0 ** min(retry - 1, DOUBLINGS_MAX))
    return rng.uniform(0.0, ceiling)


def cooldown_seconds(retry_after: float | None, refusals: int, rng: Random) -> float:
    """Seconds a token is held after a 429: what the server asked for and a little, else full jitter by `refusals`."""
    if retry_after is not None:
        stretched = retry_after * (1 + rng.uniform(0.0, COOLDOWN_JITTER_FACTOR))
        return stretched if retry_after > COOLDOWN_MAX_SECONDS else min(stretched, COOLDOWN_MAX_SECONDS)
    return full_jitter(refusals, THROTTLED_INITIAL_SECONDS, THROTTLED_CAP_SECONDS, rng)
