"""How a receiver works through what it was sent, and what it tells of it."""

from __future__ import annotations

from datetime import datetime

import attrs

from truecaller_async.errors import ConfigError
from truecaller_async.options import RetryPolicy

DAY_SECONDS = 86_400.0
DEFAULT_RETRY = RetryPolicy(attempts=12, total=DAY_SECONDS, initial=1.0, cap=900.0)
"""Twelve tries, which take about an hour and a half on the average."""


@attrs.frozen
class WebhookOptions:
    """The figures of a `WebhookReceiver`. Raises `ConfigError` where one makes no sense.

    `retry`: a handler that failed is called again with growing waits, `retry.attempts` times at most and within
    `retry.total` seconds of the event's arrival; then the event is parked. `concurrency`: handlers at work at once.
    `handle_within`: seconds after which a coroutine that handles an event is ended, as a failure; a plain function
    cannot be ended. `finish_within`: seconds that a stop waits for what is queued. `keep_for`: seconds, and
    `keep_at_most`: number, of handled events whose ids are remembered, so that a repetition is known; Truecaller
    repeats for about 79 hours.
    """

    retry: RetryPolicy = DEFAULT_RETRY
    concurrency: int = 8
    handle_within: float = 300.0
    finish_within: float = 10.0
    keep_for: float = 7 * DAY_SECONDS
    keep_at_most: int = 1_000_000

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.retry, RetryPolicy):
            raise ConfigError("WebhookOptions.retry must be a RetryPolicy")
        for name, least in (("concurrency", 1), ("keep_at_most", 0)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise ConfigError(f"WebhookOptions.{name} must be a whole number from {least}")
        for name in ("finish_within", "keep_for"):
            value = getattr(self, name)
            if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= 2**31:
                raise ConfigError(f"WebhookOptions.{name} must be seconds, 0 or more")
        within = self.handle_within
        if not isinstance(within, int | float) or isinstance(within, bool) or not 0 < within <= 2**31:
            raise ConfigError("WebhookOptions.handle_within must be seconds, more than 0")


@attrs.frozen
class WebhookStats:
    """Counts since the store was made, over restarts and over all processes that share it.

    `received` events were answered 200; `duplicates` of them were known already. `handled` were handled, `failed` is
    how often a handler failed, `parked` are given up and wait for `release`, `waiting` wait for their handler or its
    next try. `possibly_twice` were with a handler when a process died, and were handed out again.
    """

    received: int = 0
    duplicates: int = 0
    handled: int = 0
    failed: int = 0
    parked: int = 0
    waiting: int = 0
    possibly_twice: int = 0


@attrs.frozen
class ParkedEvent:
    """An event whose handler failed for the last time. `fault` is the last failure, with numbers masked."""

    event_id: str
    received_at: datetime
    attempts: int
    fault: str
    body: bytes = attrs.field(repr=False)
