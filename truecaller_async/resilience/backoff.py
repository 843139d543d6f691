"""Compute the wait before a retry and the cooldown after a 429.

Algorithm:
    Full jitter: the wait before retry n is drawn uniformly from 0 to `min(cap, initial * 2 ** (n - 1))` seconds. So the
    retries of many callers are spread over the whole interval; with a fixed wait they would come at the same time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from truecaller_async.options import COOLDOWN_MAX_SECONDS

if TYPE_CHECKING:
    from random import Random

THROTTLED_INITIAL_SECONDS = 1.0
THROTTLED_CAP_SECONDS = 30.0
COOLDOWN_JITTER_FACTOR = 0.1
"""Maximum extension of a `Retry-After`, so that several cooldowns do not end at the same time."""

DOUBLINGS_MAX = 32


def full_jitter(retry: int, initial: float, cap: float, rng: Random) -> float:
    """Draw the wait before retry number `retry` (from 1), in seconds."""
    ceiling = min(cap, initial * 2.0 ** min(retry - 1, DOUBLINGS_MAX))
    return rng.uniform(0.0, ceiling)


def cooldown_seconds(retry_after: float | None, refusals: int, rng: Random) -> float:
    """Draw the cooldown of a token after a 429, in seconds.

    Args:
        retry_after: Seconds that the server requested, or None. The cooldown is 0 to 10 % longer. It is at most
            `COOLDOWN_MAX_SECONDS`, unless the server requested more than that.
        refusals: Number of 429 answers in a row; used for full jitter if `retry_after` is None.
        rng: Source of the jitter.
    """
    if retry_after is not None:
        stretched = retry_after * (1 + rng.uniform(0.0, COOLDOWN_JITTER_FACTOR))
        return stretched if retry_after > COOLDOWN_MAX_SECONDS else min(stretched, COOLDOWN_MAX_SECONDS)
    return full_jitter(refusals, THROTTLED_INITIAL_SECONDS, THROTTLED_CAP_SECONDS, rng)
