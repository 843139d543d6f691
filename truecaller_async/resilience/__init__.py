"""Rate limits, service guard, backoff and server clock. Pure: `now` and `rng` are arguments."""
