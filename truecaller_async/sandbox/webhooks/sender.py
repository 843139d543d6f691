"""Webhooks from the sender's side: what is sent, when it is sent again, and when it is given up.

Documented: an answer of exactly 200 is a delivery and anything else is not; after a first failure up to seven retries,
2 min, 6 min, 30 min, 1 h, 5 h, 1 day and 2 days after the attempt before; a connection and a read may take 20 s each,
the whole 60 s; the configuration is read again for every attempt, so that a deleted webhook ends its retries; the words
of the states. Other pages print another schedule and other timeouts, so all of them are settings.

The sandbox's own choices: one POST with `Content-Type: application/json` for each event, to a URL on this machine or
behind https; redirects are not followed, they are no 200.

An order says how many events are sent, how many of them twice, and whether out of order. Which, is drawn from the seed.
Nothing here does I/O or reads a clock: the sending, the waiting and the time are given. A URL is a secret, because the
webhook's key is in it, as a parameter or as a part of the path: only scheme, host and port are ever shown.
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
COUNT_MAX = 200_000
SENDERS_MAX = 64
LOG_MAX_ATTEMPTS = 300_000
"""Attempts that the log remembers."""

Post: TypeAlias = Callable[[Secret, bytes], Awaitable["int | str"]]
"""Sends a body to a URL: the status of the answer, or the name of the failure."""


class DeliveryState(StrEnum):
    """What an attempt left an event in. All but "delivered" are the console's words."""

    DELIVERED = "delivered"
    RESCHEDULED = "rescheduled error"
    NOT_FOUND = "webhook_not_found"
    DELETED = "webhook deleted"
    FAILED = "webhook failed"


def _float_tuple(values: Iterable[float]) -> tuple[float, ...]:
    return tuple(values)


@attrs.frozen(kw_only=True)
class WebhookSenderSettings:
    """How webhooks are delivered. Durations are seconds.

    `retries`: the waits before each retry, from the attempt before. `connect`, `read`, `total`: how long a connection,
    each silence and the whole of an attempt may take. Raises `ConfigError` where a value is out of its range.
    """

    retries: tuple[float, ...] = attrs.field(default=RETRIES, converter=_float_tuple)
    connect: float = 20.0
    read: float = 20.0
    total: float = 60.0

    def __attrs_post_init__(self) -> None:
        if any(delay < 0 for delay in self.retries):
            raise ConfigError(
                "WebhookSenderSettings.retries has a negative wait: give 0 seconds or more for each retry"
            )
        if min(self.connect, self.read, self.total) <= 0:
            raise ConfigError("WebhookSenderSettings has a timeout of 0 or less: give more than 0 seconds")


def _secret(value: str | Secret) -> Secret:
    return value if isinstance(value, Secret) else Secret(value)


def _kinds(names: Iterable[str]) -> tuple[EventKind, ...]:
    try:
        return tuple(EventKind(name) for name in names)
    except ValueError:
        raise ConfigError(f"a kind of event is not known: give one or more out of {', '.join(EventKind)}") from None


@attrs.frozen(kw_only=True)
class WebhookOrder:
    """An order to send `count` events to `url`, the `kinds` in turn.

    `duplicates` of them, as a share from 0 to 1, are sent twice; with `shuffle` they come in any order; `senders` send
    at the same time. Raises `ConfigError` where a value cannot be used, and shows nothing of the URL.
    """

    url: Secret = attrs.field(converter=_secret)
    kinds: tuple[EventKind, ...] = attrs.field(default=tuple(EventKind), converter=_kinds)
    count: int = 1
    duplicates: float = 0.0
    shuffle: bool = False
    senders: int = 1

    def __attrs_post_init__(self) -> None:
        origin_of(self.url)
        _require(self.kinds, f"kinds must be one or more out of {', '.join(EventKind)}")
        _require(1 <= self.count <= COUNT_MAX, f"count must be from 1 to {COUNT_MAX}")
        _require(0 <= self.duplicates <= 1, "duplicates must be a share from 0 to 1, such as 0.3")
        _require(1 <= self.senders <= SENDERS_MAX, f"senders must be from 1 to {SENDERS_MAX}")


def _require(condition: object, rule: str) -> None:
    if not condition:
        raise ConfigError(f"the webhooks cannot be sent so: {rule}")


def origin_of(url: Secret) -> str:
    """Scheme, host and port of a URL that may be sent to. Raises `ConfigError`, and shows nothing of it."""
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
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown}:{port}" if port else f"{parts.scheme}://{shown}"


def _is_this_machine(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def events_of(
    order: WebhookOrder, factory: EventFactory, rng: random.Random, contacts: Sequence[Contact], now: float
) -> list[WebhookEvent]:
    """The events of an order, in the order in which they are sent; a duplicate follows its event, or is anywhere."""
    kinds = order.kinds
    events = [factory.make(kinds[place % len(kinds)], contacts, now) for place in range(order.count)]
    possibly_duplicated = set(rng.sample(range(order.count), round(order.count * order.duplicates)))
    sent = [event for place, event in enumerate(events) for _ in range(2 if place in possibly_duplicated else 1)]
    if order.shuffle:
        rng.shuffle(sent)
    return sent


@attrs.frozen
class DeliveryAttempt:
    """One line of the log. `number` counts the lines, `attempt` the tries for this sending, both from 1.

    `status` is that of the answer; where none came it is None, and `error` says why. `at` is wall-clock seconds.
    """

    number: int
    at: float
    event_id: str
    kind: EventKind
    attempt: int
    target: str
    status: int | None
    error: str | None
    state: DeliveryState


class WebhookSender:
    """Delivers events and keeps the log. `states` counts the attempts by what they left."""

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
        """A webhook with this URL exists from now on."""
        self._configured.add(url)

    def clear(self) -> None:
        """All webhooks are deleted: what is still to be sent or retried ends at its next attempt."""
        self._configured.clear()

    def attempts(self, after: int = 0, limit: int = LOG_MAX_ATTEMPTS) -> list[DeliveryAttempt]:
        """The next `limit` lines of the log whose number is above `after`."""
        first = self._written - len(self._log)
        start = max(0, after - first)
        return list(islice(self._log, start, start + limit))

    async def attempt(self, event: WebhookEvent, url: Secret, attempt: int = 1) -> bool:
        """One attempt. Whether that was the end of it, be it delivered or given up."""
        at = self._clock()
        if url not in self._configured:
            self._log_attempt(
                at, event, url, attempt, None, DeliveryState.NOT_FOUND if attempt == 1 else DeliveryState.DELETED
            )
            return True
        said = await self._post(url, event.body)
        state = DeliveryState.RESCHEDULED if attempt <= len(self._settings.retries) else DeliveryState.FAILED
        if said == ACCEPTED_STATUS:
            state = DeliveryState.DELIVERED
        self._log_attempt(at, event, url, attempt, said, state)
        return state is not DeliveryState.RESCHEDULED

    async def deliver(self, event: WebhookEvent, url: Secret) -> None:
        """The retries after a first attempt that failed."""
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
