"""Decisions about rows, batches and polls. Pure: no I/O and no clock; `now` and `rng` are arguments."""
