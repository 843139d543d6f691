"""Define the options of clients and campaigns: frozen values that are checked when they are created.

Invariants:
    - A wrong value raises `ConfigError` before anything is sent.
    - Durations are float seconds.
    - Limits are data: `Limits.documented()` has the figures of "Truecaller for Business: Rate limits in one place", and
      each can be replaced, because an account's limits are "the limits entitled to your business".
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
"""The names of the calls that a limit can count; `*` means every call made with a token."""

BATCH_MAX = 500
"""The most records in one batch."""

COOLDOWN_MAX_SECONDS = 300.0
"""The longest `Retry-After` that a single call waits for. For a longer one it raises `WaitTooLong`."""

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)

NUMBER_MAX = 2**63 - 1
"""The largest number that is accepted: no setting needs a larger one, and arithmetic would overflow."""

FIGURE_MAX = 2**63 - 1
"""The largest figure: beyond it nothing is meant, and arithmetic overflows."""
SHOWN_MAX_CHARS = 40


def _positive(instance: object, attribute: Attribute, value: float) -> None:
    if not _is_number(value) or value <= 0:
        raise _config_error(instance, attribute, value, "a finite number above 0")


def _not_negative(instance: object, attribute: Attribute, value: float) -> None:
    if not _is_number(value) or value < 0:
        raise _config_error(instance, attribute, value, "a finite number, 0 or more")


def _int_from_1(instance: object, attribute: Attribute, value: int) -> None:
    if not _is_number(value) or not isinstance(value, int) or value < 1:
        raise _config_error(instance, attribute, value, "a whole number from 1")


def _int_from_0(instance: object, attribute: Attribute, value: int) -> None:
    if not _is_number(value) or not isinstance(value, int) or value < 0:
        raise _config_error(instance, attribute, value, "a whole number from 0")


def _one_of(*choices: str) -> Callable[[object, Attribute, str], None]:
    def check(instance: object, attribute: Attribute, value: str) -> None:
        if value not in choices:
            raise _config_error(instance, attribute, value, f"one of {', '.join(repr(choice) for choice in choices)}")

    return check


def _instance_of(kind: type, rule: str) -> Callable[[object, Attribute, object], None]:
    def check(instance: object, attribute: Attribute, value: object) -> None:
        if not isinstance(value, kind):
            raise _config_error(instance, attribute, value, rule)

    return check


def _config_error(instance: object, attribute: Attribute, value: object, rule: str) -> ConfigError:
    hint = f"; the default is {attribute.default!r}" if isinstance(attribute.default, int | float | str) else ""
    return ConfigError(f"{type(instance).__name__}.{attribute.name} is {quoted_value(value)}: it must be {rule}{hint}")


def _is_number(value: object) -> bool:
    """Return whether the value is a finite number in range; a boolean is none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= NUMBER_MAX


def _is_printable(text: object) -> bool:
    return isinstance(text, str) and text != "" and text.isprintable()


@attrs.frozen
class Credentials:
    """The account and its API key, from the console page "Manage API Keys"."""

    client_account_id: str
    """The UUID of the account."""

    key_id: str
    """The id of the key."""

    api_key: Secret
    """The key."""

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
    """The timeouts of one attempt, in seconds.

    There is no total timeout: when it fired, it would be unknown whether the request was sent.
    """

    connect: float = attrs.field(default=10.0, validator=_positive)
    """Seconds until a connection is acquired."""

    read: float = attrs.field(default=30.0, validator=_positive)
    """Seconds between two reads. An answer that has begun must be complete within ten times this."""


@attrs.frozen
class RetryPolicy:
    """The number of attempts of one call, and the waits between them, in seconds.

    The wait before the n-th retry is drawn evenly from 0 to `min(cap, initial * 2 ** (n - 1))` seconds (full jitter).
    The error decides whether a call may be retried at all (`.retryable`), not the policy.
    """

    attempts: int = attrs.field(default=4, validator=_int_from_1)
    """The most attempts of one call."""

    total: float = attrs.field(default=60.0, validator=_positive)
    """Seconds after which no attempt begins."""

    initial: float = attrs.field(default=0.5, validator=_positive)
    """The longest wait before the first retry, in seconds."""

    cap: float = attrs.field(default=30.0, validator=_positive)
    """The longest wait before any retry, in seconds."""


NO_RETRY = RetryPolicy(attempts=1)
"""A policy without retries."""


@attrs.frozen
class PollPolicy:
    """The times at which batches, or the details of numbers, are polled. Durations are seconds."""

    first: float = attrs.field(default=2.0, validator=_positive)
    """Seconds until the first poll. A campaign learns a better delay from its earlier batches."""

    factor: float = attrs.field(default=1.5, validator=_positive)
    """The factor by which the waits between polls grow, at least 1."""

    cap: float = attrs.field(default=60.0, validator=_positive)
    """The longest wait between two polls, in seconds."""

    deadline: float = attrs.field(default=7200.0, validator=_positive)
    """Seconds after which polling ends, from the acceptance of the batch or the start of the wait."""

    def __attrs_post_init__(self) -> None:
        if self.factor < 1:
            raise ConfigError(
                f"PollPolicy.factor is {self.factor!r}: it must be 1 or more, because the waits would shrink"
            )


@attrs.frozen
class RateLimit:
    """A limit of at most `limit` requests in any window of `per` seconds."""

    name: str = attrs.field(validator=_instance_of(str, "a word, such as 'batch'"))
    """The name, such as "batch"."""

    limit: int = attrs.field(validator=_int_from_1)
    """The most requests in one window."""

    per: float = attrs.field(validator=_positive)
    """The length of the window, in seconds."""

    scope: Literal["token", "account"] = attrs.field(default="token", validator=_one_of("token", "account"))
    """Whether the requests of each token are counted, or those of the whole account."""

    calls: tuple[str, ...] = attrs.field(default=("*",), validator=_instance_of(tuple, "a tuple, such as ('submit',)"))
    """The names of the calls that are counted; `*` counts every call made with a token."""

    def __attrs_post_init__(self) -> None:
        for call in self.calls:
            if call != "*" and call not in CALLS:
                raise ConfigError(
                    f"limit {quoted_value(self.name)} names the call {quoted_value(call)}; "
                    f"calls are *, {', '.join(CALLS)}"
                )

    def counts(self, call: str) -> bool:
        """Return whether this limit counts requests of this call."""
        return call in self.calls or ("*" in self.calls and call != "mint")


@attrs.frozen
class Limits:
    """All rate limits of an account. A request must pass each limit that counts its call."""

    rules: tuple[RateLimit, ...] = attrs.field(validator=_instance_of(tuple, "a tuple of RateLimit"))
    """The limits. Their names are unique."""

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
        """Return the documented limits.

        For each token 100 requests per second and 60 batches per minute; 10 new tokens in 30 minutes.
        """
        return cls(
            (
                RateLimit("token", 100, 1.0),
                RateLimit("batch", 60, 60.0, calls=("submit",)),
                RateLimit("mint", 10, 1800.0, "account", calls=("mint",)),
            )
        )

    @classmethod
    def careful(cls) -> Limits:
        """Return the documented limits, with status polls counted among the 60 batches a minute."""
        return cls(
            tuple(
                attrs.evolve(rule, calls=("submit", "status")) if rule.name == "batch" else rule
                for rule in cls.documented()
            )
        )

    def replace(self, **figures: tuple[int, float]) -> Limits:
        """Return a copy with other figures.

        Args:
            **figures: For the name of a limit, its requests and its window in seconds: `batch=(60, 6.0)`.

        Raises:
            ConfigError: There is no limit of this name, or a figure is wrong.
        """
        unknown = figures.keys() - {rule.name for rule in self.rules}
        if unknown:
            known = ", ".join(rule.name for rule in self.rules)
            raise ConfigError(f"there is no limit named {', '.join(sorted(unknown))}; the limits are {known}")
        return Limits(tuple(_with_figures(rule, figures.get(rule.name)) for rule in self.rules))

    def parse(self, text: str) -> Limits:
        """Return a copy with other figures, given as text.

        Args:
            text: Limits in the form of TRUECALLER_LIMITS: requests / seconds, such as "batch=60/60,token=100/1".

        Raises:
            ConfigError: The text has another form, or there is no limit of a name in it.
        """
        figures: dict[str, tuple[int, float]] = {}
        for part in filter(None, (piece.strip() for piece in text.split(","))):
            found = re.fullmatch(r"(\w+)=([0-9]{1,9})/([0-9]{1,9}(?:\.[0-9]{1,9})?)", part, re.ASCII)
            if not found:
                raise ConfigError(f"limit {part!r} is not of the form name=limit/seconds, such as batch=60/60")
            figures[found[1]] = (int(found[2]), float(found[3]))
        return self.replace(**figures)

    def named(self, name: str) -> RateLimit | None:
        """Return the limit of this name; None if there is none."""
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
    """The options of a campaign. Durations are seconds."""

    on_ambiguous: Literal["resend", "hold"] = attrs.field(default="resend", validator=_one_of("resend", "hold"))
    """A batch whose answer was lost is sent again and flagged ("resend"), or its records stay unknown ("hold")."""

    max_resends: int = attrs.field(default=2, validator=_int_from_0)
    """How often one batch is sent again after a lost answer."""

    same_pair: Literal["in_order", "keep_last"] = attrs.field(
        default="in_order", validator=_one_of("in_order", "keep_last")
    )
    """Records of one (caller, receiver) are sent in order, or only the newest waiting one is sent ("keep_last")."""

    correlate: Literal["auto", "watermark"] = attrs.field(default="auto", validator=_one_of("auto", "watermark"))
    """How a status row is matched to its record.

    "auto": by its own fields, or by its position if that is certain. "watermark": by an index that is written into the
    milliseconds of `ends_at`.
    """

    isolate: Literal["realtime", "bisect", "none"] = attrs.field(
        default="realtime", validator=_one_of("realtime", "bisect", "none")
    )
    """How the bad record of a rejected batch is found.

    "realtime": each record is pushed alone. "bisect": the batch is halved repeatedly. "none": the whole batch fails.
    """

    linger: float = attrs.field(default=1.0, validator=_positive)
    """Seconds after which a part-filled batch is sent."""

    max_unresolved: int = attrs.field(default=100_000, validator=_int_from_1)
    """The most records that are read and whose results are not yet delivered."""

    expiry_margin: float = attrs.field(default=60.0, validator=_not_negative)
    """Seconds before the end of its window from which a record is no longer sent."""

    dedupe: Literal["window", "exact", "off"] = attrs.field(
        default="window", validator=_one_of("window", "exact", "off")
    )
    """Equal rows are sent once: within the last 100,000 rows ("window"), in the whole run ("exact"), or not ("off")."""

    validate: bool = attrs.field(default=True, validator=_instance_of(bool, "True or False"))
    """Whether records are validated before sending. False is for records that are already checked."""

    poll: PollPolicy = attrs.field(factory=PollPolicy, validator=_instance_of(PollPolicy, "a PollPolicy"))
    """The times at which statuses are requested."""
