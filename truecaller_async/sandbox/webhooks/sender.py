"""Delivery of webhook events: order of sending, retries, and the delivery log.

Documented: an answer of exactly 200 is a delivery, any other answer is a failure; up to seven retries, 2 min, 6 min,
30 min, 1 h, 5 h, 1 day and 2 days after the attempt before; 20 s for a connection and for a read, 60 s in total; the
configuration is read for every attempt, so that deleting a webhook ends its retries; the names of the states. Other
pages of the documentation have another schedule and other timeouts, so all of them are settings.

Chosen by the sandbox: one POST with `Content-Type: application/json` per event, to a URL on this machine or with https;
redirects are not followed, because they are not a 200.

Invariants:
    - An order is deterministic for a seed: which events are duplicated, and the order of a shuffle.
    - No I/O and no clock: posting, waiting and the time are parameters.
    - A URL is a secret, because it contains the key of the webhook. Only scheme, host and port are shown_host.
"""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from enum import StrEnum
from ipaddress import ip_address
from itertools import islice
from typing import TypeAlias
from urllib.parse import urlsplit

import attrs

from truecaller_async.errors import ConfigError
from truecaller_async.models import Secret
from truecaller_async.sandbox.webhooks.events import Contact, EventFactory, EventKind, WebhookEvent

MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0
RETRIES = (2 * MINUTE, 6 * MINUTE, 30 * MINUTE, HOUR, 5 * HOUR, DAY, 2 * DAY)
"""Seconds from an attempt to the next. From "Truecaller for Business: Webhooks"."""

ACCEPTED_STATUS = 200
"""HTTP status that confirms a delivery."""
COUNT_MAX = 200_000
"""Events of one order."""
SENDERS_MAX = 64
"""Concurrent senders of one order."""
LOG_MAX_ATTEMPTS = 300_000
"""Attempts that the log stores."""

Post: TypeAlias = Callable[[Secret, bytes], Awaitable["int | str"]]
"""Posts a body to a URL; returns the status of the answer, or the name of the failure."""


class DeliveryState(StrEnum):
    """State of an event after an attempt. All except "delivered" are values of the vendor's console."""

    DELIVERED = "delivered"
    """The answer was 200."""
    RESCHEDULED = "rescheduled error"
    """The attempt failed; a retry follows."""
    NOT_FOUND = "webhook_not_found"
    """The webhook did not exist at the first attempt."""
    DELETED = "webhook deleted"
    """The webhook was deleted before this retry."""
    FAILED = "webhook failed"
    """The last retry failed."""


def _float_tuple(values: Iterable[float]) -> tuple[float, ...]:
    return tuple(values)


@attrs.frozen(kw_only=True)
class WebhookSenderSettings:
    """Timeouts and retries of webhook deliveries. Durations are seconds.

    Raises:
        ConfigError: if a value is out of its range.
    """

    retries: tuple[float, ...] = attrs.field(default=RETRIES, converter=_float_tuple)
    """Seconds from an attempt to the next, one value per retry."""
    connect: float = 20.0
    """Seconds for the connection."""
    read: float = 20.0
    """Seconds without a byte of the answer."""
    total: float = 60.0
    """Seconds for one attempt."""

    def __attrs_post_init__(self) -> None:
        if any(delay < 0 for delay in self.retries):
            raise ConfigError(
                "WebhookSenderSettings.retries has a negative value: use 0 seconds or more for each retry"
            )
        if min(self.connect, self.read, self.total) <= 0:
            raise ConfigError("WebhookSenderSettings has a timeout of 0 or less: use more than 0 seconds")


def _secret(value: str | Secret) -> Secret:
    return value if isinstance(value, Secret) else Secret(value)


def _kinds(names: Iterable[str]) -> tuple[EventKind, ...]:
    try:
        return tuple(EventKind(name) for name in names)
    except ValueError:
        raise ConfigError(f"unknown kind of event: choose from {', '.join(EventKind)}") from None


@attrs.frozen(kw_only=True)
class WebhookOrder:
    """Order to send events to a URL.

    Raises:
        ConfigError: if a value cannot be used; the message contains no part of the URL.
    """

    url: Secret = attrs.field(converter=_secret)
    """URL of the receiver; a secret."""
    kinds: tuple[EventKind, ...] = attrs.field(default=tuple(EventKind), converter=_kinds)
    """Forms of the events, used in turn."""
    count: int = 1
    """Number of different events."""
    duplicates: float = 0.0
    """Fraction from 0 to 1 of the events that are sent twice."""
    shuffle: bool = False
    """True: the events are sent in a random order."""
    senders: int = 1
    """Number of concurrent senders."""

    def __attrs_post_init__(self) -> None:
        origin_of(self.url)
        _require(self.kinds, f"kinds must be one or more of {', '.join(EventKind)}")
        _require(1 <= self.count <= COUNT_MAX, f"count must be from 1 to {COUNT_MAX}")
        _require(0 <= self.duplicates <= 1, "duplicates must be a fraction from 0 to 1, such as 0.3")
        _require(1 <= self.senders <= SENDERS_MAX, f"senders must be from 1 to {SENDERS_MAX}")


def _require(condition: object, rule: str) -> None:
    if not condition:
        raise ConfigError(f"the webhook order is invalid: {rule}")


def origin_of(url: Secret) -> str:
    """Return scheme, host and port of a URL that is allowed as a target.

    Raises:
        ConfigError: if the URL is not allowed; the message contains no part of it.
    """
    text = url.reveal()
    _require(
        text.isprintable() and text.isascii() and " " not in text, "the URL must be printable ASCII without spaces"
    )
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port = "", None
    _require(host and parts.scheme in ("http", "https"), "the URL must be of the form https://host/path?key=...")
    _require("@" not in parts.netloc, "the URL must have no user name or password")
    _require(parts.scheme == "https" or _is_this_machine(host), "the URL must be https, except on this machine")
    shown_host = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown_host}:{port}" if port else f"{parts.scheme}://{shown_host}"


def _is_this_machine(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def events_of(
    order: WebhookOrder, factory: EventFactory, rng: random.Random, contacts: Sequence[Contact], now: float
) -> list[WebhookEvent]:
    """Return the events of an order as they are sent; unless shuffled, a duplicate follows its event."""
    kinds = order.kinds
    events = [factory.make(kinds[index % len(kinds)], contacts, now) for index in range(order.count)]
    possibly_duplicated = set(rng.sample(range(order.count), round(order.count * order.duplicates)))
    sent = [event for index, event in enumerate(events) for _ in range(2 if index in possibly_duplicated else 1)]
    if order.shuffle:
        rng.shuffle(sent)
    return sent


@attrs.frozen
class DeliveryAttempt:
    """One entry of the delivery log."""

    number: int
    """Number of the entry, from 1."""
    at: float
    """Wall-clock seconds."""
    event_id: str
    """Id of the event."""
    kind: EventKind
    """Form of the event."""
    attempt: int
    """Number of the attempt for this delivery, from 1."""
    target: str
    """Scheme, host and port of the URL."""
    status: int | None
    """HTTP status of the answer; None if there was none."""
    error: str | None
    """Class of the failure if there was no answer."""
    state: DeliveryState
    """State after the attempt."""


class WebhookSender:
    """Delivers events and keeps the delivery log; `states` counts the attempts by resulting state."""

    def __init__(
        self,
        settings: WebhookSenderSettings,
        post: Post,
        sleep: Callable[[float], Awaitable[object]],
        clock: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._post = post
        self._sleep = sleep
        self._clock = clock
        self._configured: set[Secret] = set()
        self._log: deque[DeliveryAttempt] = deque(maxlen=LOG_MAX_ATTEMPTS)
        self._written = 0
        self.states: Counter[DeliveryState] = Counter()

    def configure(self, url: Secret) -> None:
        """Register a webhook with this URL."""
        self._configured.add(url)

    def clear(self) -> None:
        """Delete all webhooks: pending deliveries end at their next attempt."""
        self._configured.clear()

    def attempts(self, after: int = 0, limit: int = LOG_MAX_ATTEMPTS) -> list[DeliveryAttempt]:
        """Return the next `limit` entries of the log with a number above `after`."""
        first = self._written - len(self._log)
        start = max(0, after - first)
        return list(islice(self._log, start, start + limit))

    async def attempt(self, event: WebhookEvent, url: Secret, attempt: int = 1) -> bool:
        """Make one attempt; return True if the delivery has ended, with success or without."""
        at = self._clock()
        if url not in self._configured:
            self._log_attempt(
                at, event, url, attempt, None, DeliveryState.NOT_FOUND if attempt == 1 else DeliveryState.DELETED
            )
            return True
        result = await self._post(url, event.body)
        state = DeliveryState.RESCHEDULED if attempt <= len(self._settings.retries) else DeliveryState.FAILED
        if result == ACCEPTED_STATUS:
            state = DeliveryState.DELIVERED
        self._log_attempt(at, event, url, attempt, result, state)
        return state is not DeliveryState.RESCHEDULED

    async def deliver(self, event: WebhookEvent, url: Secret) -> None:
        """Make the retries after a failed first attempt."""
        for attempt, delay in enumerate(self._settings.retries, 2):
            await self._sleep(delay)
            if await self.attempt(event, url, attempt):
                return

    def _log_attempt(
        self, at: float, event: WebhookEvent, url: Secret, attempt: int, result: int | str | None, state: DeliveryState
    ) -> None:
        self._written += 1
        self.states[state] += 1
        status, error = (result, None) if isinstance(result, int) else (None, result)
        target = origin_of(url)
        self._log.append(
            DeliveryAttempt(self._written, at, event.event_id, event.kind, attempt, target, status, error, state)
        )
