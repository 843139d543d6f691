"""Settings as frozen values, checked at birth: a wrong one is a `ConfigError` before anything is sent.

Durations are float seconds and are named for what they bound. Limits are data: `Limits.documented()` are the figures
of "Truecaller for Business: Rate limits in one place", and every figure can be replaced, because an account's limits
are "the limits entitled to your business".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, Literal, TypeAlias

import attrs

from truecaller_async.errors import ConfigError
from truecaller_async.models import Secret
from truecaller_async.redaction import quoted_value

Attribute: TypeAlias = "attrs.Attribute[Any]"

CALLS = ("push", "submit", "status", "labels", "numbers", "feature_sets", "exports", "mint")
"""The names of the calls a limit can be about; `*` means every call made with a token."""

BATCH_MAX = 500
"""Records in one batch."""

COOLDOWN_MAX_SECONDS = 300.0
"""Seconds of `Retry-After` that a single call sits out; a longer one is a `WaitTooLong`, or a benched token."""

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)


FIGURE_MAX = 2**63 - 1
"""The largest figure: beyond it nothing is meant, and arithmetic overflows."""


def _positive(instance: object, attribute: Attribute, value: float) -> None:
    if not _is_figure(value) or value <= 0:
        raise _refused(instance, attribute, value, "a finite number above 0")


def _not_negative(instance: object, attribute: Attribute, value: float) -> None:
    if not _is_figure(value) or value < 0:
        raise _refused(instance, attribute, value, "a finite number, 0 or more")


def _whole_positive(instance: object, attribute: Attribute, value: int) -> None:
    if not _is_figure(value) or not isinstance(value, int) or value < 1:
        raise _refused(instance, attribute, value, "a whole number from 1")


def _whole(instance: object, attribute: Attribute, value: int) -> None:
    if not _is_figure(value) or not isinstance(value, int) or value < 0:
        raise _refused(instance, attribute, value, "a whole number from 0")


def _one_of(*words: str) -> Callable[[object, Attribute, str], None]:
    def check(instance: object, attribute: Attribute, value: str) -> None:
        if value not in words:
            raise _refused(instance, attribute, value, f"one of {', '.join(repr(word) for word in words)}")

    return check


def _a(kind: type, rule: str) -> Callable[[object, Attribute, object], None]:
    def check(instance: object, attribute: Attribute, value: object) -> None:
        if not isinstance(value, kind):
            raise _refused(instance, attribute, value, rule)

    return check


def _refused(instance: object, attribute: Attribute, value: object, rule: str) -> ConfigError:
    hint = f"; the default is {attribute.default!r}" if isinstance(attribute.default, int | float | str) else ""
    return ConfigError(f"{type(instance).__name__}.{attribute.name} is {quoted_value(value)}: it must be {rule}{hint}")


def _is_figure(value: object) -> bool:
    """Whether it is a finite number, as far as numbers are meant. A boolean is none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= FIGURE_MAX


def _is_printable(text: object) -> bool:
    return isinstance(text, str) and text != "" and text.isprintable()


@attrs.frozen
class Credentials:
    """Who calls: the account's id, and the key pair from the console page "Manage API Keys"."""

    client_account_id: str
    key_id: str
    api_key: Secret

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.client_account_id, str) or not UUID.fullmatch(self.client_account_id):
            raise ConfigError(
                "client_account_id is not a UUID; copy it from the console page 'Manage API Keys' "
                "(environment: TRUECALLER_CLIENT_ACCOUNT_ID)"
            )
        if not _is_printable(self.key_id):
            raise ConfigError("key_id is empty or not printable text (environment: TRUECALLER_KEY_ID)")
        if not isinstance(self.api_key, Secret) or not _is_printable(self.api_key.reveal()):
            raise ConfigError("api_key is empty or not printable text (environment: TRUECALLER_API_KEY)")


@attrs.frozen
class Timeouts:
    """Seconds of silence that end an attempt: until a connection is had, and between two reads.

    There is no total on purpose: when a total fires nobody can say whether the request was sent. An answer that has
    begun must be complete within ten times `read`.
    """

    connect: float = attrs.field(default=10.0, validator=_positive)
    read: float = attrs.field(default=30.0, validator=_positive)


@attrs.frozen
class RetryPolicy:
    """How one call is tried again: at most `attempts` times in `total` seconds.

    The wait before the n-th retry is drawn evenly from 0 to `min(cap, initial * 2 ** (n - 1))` seconds (full
    jitter). What may be retried at all is said by the error (`.retryable`), never by the policy.
    """

    attempts: int = attrs.field(default=4, validator=_whole_positive)
    total: float = attrs.field(default=60.0, validator=_positive)
    initial: float = attrs.field(default=0.5, validator=_positive)
    cap: float = attrs.field(default=30.0, validator=_positive)


NO_RETRY = RetryPolicy(attempts=1)
"""One attempt, no more."""


@attrs.frozen
class PollPolicy:
    """When the status of a batch, or the details of numbers, are asked for.

    First after `first` seconds (the engine learns a better figure from the batches before), then with waits growing
    by `factor` up to `cap` seconds, until `deadline` seconds after the batch was accepted, or the wait began.
    """

    first: float = attrs.field(default=2.0, validator=_positive)
    factor: float = attrs.field(default=1.5, validator=_positive)
    cap: float = attrs.field(default=60.0, validator=_positive)
    deadline: float = attrs.field(default=7200.0, validator=_positive)

    def __attrs_post_init__(self) -> None:
        if self.factor < 1:
            raise ConfigError(
                f"PollPolicy.factor is {self.factor!r}: it must be 1 or more, or the polls would come ever faster"
            )


@attrs.frozen
class RateLimit:
    """At most `limit` requests in any `per` seconds, counted for each token or for the whole account.

    `calls` names the calls that are counted; `*` counts every call made with a token.
    """

    name: str = attrs.field(validator=_a(str, "a word, such as 'batch'"))
    limit: int = attrs.field(validator=_whole_positive)
    per: float = attrs.field(validator=_positive)
    scope: Literal["token", "account"] = attrs.field(default="token", validator=_one_of("token", "account"))
    calls: tuple[str, ...] = attrs.field(default=("*",), validator=_a(tuple, "a tuple, such as ('submit',)"))

    def __attrs_post_init__(self) -> None:
        for call in self.calls:
            if call != "*" and call not in CALLS:
                raise ConfigError(
                    f"limit {quoted_value(self.name)} names the call {quoted_value(call)}; "
                    f"calls are *, {', '.join(CALLS)}"
                )

    def counts(self, call: str) -> bool:
        """Whether a request of this call is charged to this limit."""
        return call in self.calls or ("*" in self.calls and call != "mint")


@attrs.frozen
class Limits:
    """All limits of an account. A request must pass every one that counts its call."""

    rules: tuple[RateLimit, ...] = attrs.field(validator=_a(tuple, "a tuple of RateLimit"))

    def __attrs_post_init__(self) -> None:
        strange = next((rule for rule in self.rules if not isinstance(rule, RateLimit)), None)
        if strange is not None:
            raise ConfigError(f"Limits.rules has one {quoted_value(strange)}: each must be a RateLimit")
        names = [rule.name for rule in self.rules]
        if len(set(names)) != len(names):
            raise ConfigError(f"two limits share a name: {', '.join(names)}")

    def __iter__(self) -> Iterator[RateLimit]:
        return iter(self.rules)

    @classmethod
    def documented(cls) -> Limits:
        """100 requests a second and 60 batches a minute for each token, 10 new tokens in 30 minutes."""
        return cls(
            (
                RateLimit("token", 100, 1.0),
                RateLimit("batch", 60, 60.0, calls=("submit",)),
                RateLimit("mint", 10, 1800.0, "account", calls=("mint",)),
            )
        )

    @classmethod
    def careful(cls) -> Limits:
        """The documented figures, read the strict way: status polls share the 60 a minute of the batches."""
        return cls(
            tuple(
                attrs.evolve(rule, calls=("submit", "status")) if rule.name == "batch" else rule
                for rule in cls.documented()
            )
        )

    def replace(self, **figures: tuple[int, float]) -> Limits:
        """A copy with other figures: `limits.replace(batch=(60, 6.0))` means 60 per 6 seconds."""
        unknown = figures.keys() - {rule.name for rule in self.rules}
        if unknown:
            known = ", ".join(rule.name for rule in self.rules)
            raise ConfigError(f"there is no limit named {', '.join(sorted(unknown))}; the limits are {known}")
        return Limits(tuple(_with_figures(rule, figures.get(rule.name)) for rule in self.rules))

    def parse(self, text: str) -> Limits:
        """A copy with the figures of `batch=60/60,token=100/1` (limit / seconds), as in TRUECALLER_LIMITS."""
        figures: dict[str, tuple[int, float]] = {}
        for part in filter(None, (piece.strip() for piece in text.split(","))):
            found = re.fullmatch(r"(\w+)=([0-9]{1,9})/([0-9]{1,9}(?:\.[0-9]{1,9})?)", part, re.ASCII)
            if not found:
                raise ConfigError(f"limit {part!r} is not of the form name=limit/seconds, such as batch=60/60")
            figures[found[1]] = (int(found[2]), float(found[3]))
        return self.replace(**figures)

    def named(self, name: str) -> RateLimit | None:
        """The limit of that name."""
        return next((rule for rule in self.rules if rule.name == name), None)


def _with_figures(rule: RateLimit, figures: tuple[int, float] | None) -> RateLimit:
    if figures is None:
        return rule
    try:
        limit, per = figures
    except (TypeError, ValueError):
        raise ConfigError(
            f"the limit {rule.name} is {quoted_value(figures)}: "
            f"it must be (limit, seconds), such as {rule.name}=(60, 60.0)"
        ) from None
    return attrs.evolve(rule, limit=limit, per=per)


@attrs.frozen
class CampaignOptions:
    """How a campaign is run.

    `on_ambiguous`: a batch whose answer was lost is sent again, flagged, at most `max_resends` times ("resend"), or
    left `unknown` ("hold"). `same_pair`: records of one (caller, receiver) keep their order, or only the newest one
    waiting is sent ("keep_last"). `correlate`: how a status row finds its record: by its own fields, or by its place
    where that is certain ("auto"), or by an index in the milliseconds of `ends_at` ("watermark"). `isolate`: how the
    bad record of a refused batch is found: each record is pushed alone ("realtime"), the batch is halved again and
    again ("bisect"), or all of it has failed ("none"). `poll`: when statuses are asked for. `linger`: seconds after
    which a part-filled batch is sent. `max_unresolved`: records read and not yet answered to the reader.
    `expiry_margin`: seconds before the end of its window at which a record is no longer sent. `dedupe`: byte-identical
    rows are sent once, within the last 100,000 rows ("window") or the whole run ("exact"). `validate=False` skips the
    pre-flight for records already checked.
    """

    on_ambiguous: Literal["resend", "hold"] = attrs.field(default="resend", validator=_one_of("resend", "hold"))
    max_resends: int = attrs.field(default=2, validator=_whole)
    same_pair: Literal["in_order", "keep_last"] = attrs.field(
        default="in_order", validator=_one_of("in_order", "keep_last")
    )
    correlate: Literal["auto", "watermark"] = attrs.field(default="auto", validator=_one_of("auto", "watermark"))
    isolate: Literal["realtime", "bisect", "none"] = attrs.field(
        default="realtime", validator=_one_of("realtime", "bisect", "none")
    )
    linger: float = attrs.field(default=1.0, validator=_positive)
    max_unresolved: int = attrs.field(default=100_000, validator=_whole_positive)
    expiry_margin: float = attrs.field(default=60.0, validator=_not_negative)
    dedupe: Literal["window", "exact", "off"] = attrs.field(
        default="window", validator=_one_of("window", "exact", "off")
    )
    validate: bool = attrs.field(default=True, validator=_a(bool, "True or False"))
    poll: PollPolicy = attrs.field(factory=PollPolicy, validator=_a(PollPolicy, "a PollPolicy"))
