"""Rate law, circuit breaker, backoff and the server's clock. Pure: `now` and `rng` are arguments."""
