"""Options and counters of a webhook receiver."""

from __future__ import annotations

from datetime import datetime

import attrs

from truecaller_async.errors import ConfigError
from truecaller_async.options import RetryPolicy
from truecaller_async.redaction import shown_value

DAY_SECONDS = 86_400.0
SECONDS_MAX = 2**31
"""Upper bound of the durations."""
DEFAULT_RETRY = RetryPolicy(attempts=12, total=DAY_SECONDS, initial=1.0, cap=900.0)
"""Twelve attempts, which take about 1.5 hours on average."""


@attrs.frozen
class WebhookOptions:
    """Options of a `WebhookReceiver`. Durations are seconds.

    Raises:
        ConfigError: A value is out of its range.
    """

    retry: RetryPolicy = DEFAULT_RETRY
    """Retry policy for a handler that failed.

    The event is parked after `retry.attempts` attempts, or if the next attempt would be more than `retry.total` seconds
    after the event was received.
    """
    concurrency: int = 8
    """Maximum number of concurrent handlers."""
    handle_within: float = 300.0
    """Seconds after which a coroutine handler is cancelled and counts as failed.

    Not applied to a plain function, because a function in a thread cannot be cancelled.
    """
    finish_within: float = 10.0
    """Seconds that `aclose` waits for queued events to be handled."""
    keep_for: float = 7 * DAY_SECONDS
    """Seconds for which ids of handled events are stored, to detect repetitions.

    Truecaller repeats an event for about 79 hours.
    """
    keep_at_most: int = 1_000_000
    """Maximum number of handled events whose ids are stored."""

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.retry, RetryPolicy):
            raise ConfigError(
                f"WebhookOptions.retry must be a RetryPolicy, not {shown_value(self.retry)}. Use RetryPolicy(...)"
            )
        for name, least in (("concurrency", 1), ("keep_at_most", 0)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise ConfigError(
                    f"WebhookOptions.{name} must be a whole number, {least} or more, not {shown_value(value)}"
                )
        for name in ("finish_within", "keep_for"):
            value = getattr(self, name)
            if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= SECONDS_MAX:
                raise ConfigError(
                    f"WebhookOptions.{name} must be 0 to {SECONDS_MAX:,} seconds, not {shown_value(value)}"
                )
        within = self.handle_within
        if not isinstance(within, int | float) or isinstance(within, bool) or not 0 < within <= SECONDS_MAX:
            raise ConfigError(
                f"WebhookOptions.handle_within must be more than 0 and up to {SECONDS_MAX:,} seconds, "
                f"not {shown_value(within)}"
            )


@attrs.frozen
class WebhookStats:
    """Counters since the store was created, over restarts and all processes that share the store."""

    received: int = 0
    """Events that were answered with 200."""
    duplicates: int = 0
    """Received events that were already known."""
    handled: int = 0
    """Events whose handler succeeded."""
    failed: int = 0
    """Failed handler calls."""
    parked: int = 0
    """Events that failed for the last time and wait for `release`."""
    waiting: int = 0
    """Events that wait for their handler or for a retry, or are being handled."""
    possibly_duplicated: int = 0
    """Events requeued because the process ended, or `aclose` timed out, during their handler.

    The handler may have run twice.
    """


@attrs.frozen
class ParkedEvent:
    """Event whose handler failed for the last time."""

    event_id: str
    """Id of the event."""
    received_at: datetime
    """Time at which it was received."""
    attempts: int
    """Number of handler calls."""
    error: str
    """Last failure, with phone numbers masked."""
    body: bytes = attrs.field(repr=False)
    """Body as sent."""
