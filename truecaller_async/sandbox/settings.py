"""Settings of a sandbox: account, limits, timing, and answers for which the documentation has no rule.

Every setting has a default, generated from `seed`: the same seed gives the same account, key, labels, feature sets,
tokens and ids on every machine, so a failing run can be repeated.

The documentation does not say what a batch does with one invalid record, which status values exist, how long a batch
or a number listing takes, how large a page is, or what the answer of an export looks like. Each of these is a setting,
so that a client can be tested against every interpretation. If the documentation contains two different forms, the
alternative form is a `ResponseVariant`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Literal

import attrs

from truecaller_async.errors import ConfigError
from truecaller_async.models import Secret
from truecaller_async.options import UUID, Limits
from truecaller_async.sandbox.account import (
    SandboxFeatureSet,
    SandboxLabel,
    default_feature_sets,
    default_labels,
    seeded_uuid,
)
from truecaller_async.sandbox.faults.plan import FaultPlan
from truecaller_async.sandbox.faults.response_variants import ResponseVariant
from truecaller_async.sandbox.trustcaller.settings import TrustCallerSettings
from truecaller_async.sandbox.webhooks.sender import WebhookSenderSettings, origin_of

SPEEDS: Mapping[str, Limits] = MappingProxyType(
    {
        "real": Limits.documented(),
        "fast": Limits.documented().replace(batch=(60, 6.0), token=(100, 1.0), mint=(10, 180.0)),
        "off": Limits.documented().replace(batch=(1_000_000, 1.0), token=(1_000_000, 1.0), mint=(1_000_000, 1.0)),
    }
)
"""Rate limits by name.

- "real": the documented limits;
- "fast": one documented minute takes six seconds;
- "off": limits that no client reaches. They are numbers and not an empty set, so that a client that is configured with
  the sandbox's limits does not slow down.
"""

FINAL_STATUSES = ("success", "failed")
"""Final status values of a record in the answers of this sandbox."""


def _secret(value: str | Secret) -> Secret:
    return value if isinstance(value, Secret) else Secret(value)


def _url(value: str | Secret | None) -> Secret | None:
    return None if value is None else _secret(value)


def _account(settings: SandboxSettings) -> str:
    return seeded_uuid(settings.seed, "account")


def _key_id(settings: SandboxSettings) -> str:
    return seeded_uuid(settings.seed, "key")


def _api_key(settings: SandboxSettings) -> Secret:
    return Secret(seeded_uuid(settings.seed, "secret"))


def _labels(settings: SandboxSettings) -> tuple[SandboxLabel, ...]:
    return default_labels(settings.seed)


def _feature_sets(settings: SandboxSettings) -> tuple[SandboxFeatureSet, ...]:
    return default_feature_sets(settings.seed)


def _trustcaller(settings: SandboxSettings) -> TrustCallerSettings:
    return TrustCallerSettings(seed=settings.seed)


def _response_variants(names: Iterable[str]) -> frozenset[ResponseVariant]:
    try:
        return frozenset(ResponseVariant(name) for name in names)
    except ValueError:
        known = ", ".join(ResponseVariant)
        raise ConfigError(
            f"SandboxSettings.response_variants is {names!r}: it must be a collection of names out of {known}"
        ) from None


@attrs.frozen(kw_only=True)
class SandboxSettings:
    """Settings of one sandbox. Durations are seconds.

    Raises:
        ConfigError: if a value is out of its range.
    """

    seed: int = 0
    """Seed of all generated values."""
    client_account_id: str = attrs.field(default=attrs.Factory(_account, takes_self=True))
    """UUID of the account."""
    key_id: str = attrs.field(default=attrs.Factory(_key_id, takes_self=True))
    """Id of the API key."""
    api_key: Secret = attrs.field(default=attrs.Factory(_api_key, takes_self=True), converter=_secret)
    """API key."""
    labels: tuple[SandboxLabel, ...] = attrs.field(default=attrs.Factory(_labels, takes_self=True))
    """Labels of the account."""
    limits: Limits = attrs.field(factory=Limits.documented)
    """Rate limits."""
    enforce: bool = True
    """False: requests over a limit are counted as violations and admitted."""
    token_life: float = 3600.0
    """Seconds for which a token is valid."""
    resolve_after: float = 2.0
    """Seconds from the acceptance of a batch to its first final status."""
    resolve_spread: float = 0.0
    """Seconds over which the records of a batch become final, in a scrambled order."""
    pending_status: str = "pending"
    """Status of a record before its final status."""
    batch_validation: Literal["whole", "per_record"] = "whole"
    """Effect of an invalid record.

    - "whole": the whole batch is rejected;
    - "per_record": only this record fails.
    """
    label_required: bool = False
    """True: a record without `label_id` is rejected."""
    mask_numbers: bool = False
    """True: status answers contain asterisks instead of numbers."""
    truth_limit: int = 2_000_000
    """Applied records that are stored.

    If there are more, the oldest batches are removed, and their status is then unknown. A record takes about 0.2 kB of
    memory in a full batch, and 1.1 kB as a real-time record.
    """
    feature_sets: tuple[SandboxFeatureSet, ...] = attrs.field(default=attrs.Factory(_feature_sets, takes_self=True))
    """Feature sets of the account."""
    list_after: float = 2.0
    """Seconds from publishing a number until it is listed, and from delisting until removal."""
    pending_numbers: Literal["shown", "hidden"] = "shown"
    """Number details during this time.

    - "shown": the number has the status "pending";
    - "hidden": the number is shown as before the change.
    """
    page_limit: int = 50
    """Numbers or feature sets on a page if the request names no limit."""
    numbers_limit: int = 100_000
    """Numbers of the account, listed or pending; a listing above it is rejected."""
    export_shape: Literal["object", "string", "text"] = "object"
    """Answer of an export.

    - "object": `{"url": ...}`;
    - "string": the URL as a JSON string;
    - "text": the URL as plain text.
    """
    response_variants: frozenset[ResponseVariant] = attrs.field(default=frozenset(), converter=_response_variants)
    """Alternative forms of answers, by name."""
    late_for: float = 1.0
    """Seconds of delay in two response variants.

    - `LATE_BATCHES`: time for which a new batch is unknown;
    - `LATE_ROWS`: time from the final statuses until the late rows appear.
    """
    trustcaller: TrustCallerSettings = attrs.field(default=attrs.Factory(_trustcaller, takes_self=True))
    """Settings of the TrustCaller account, which has its own path."""
    webhook: Secret | None = attrs.field(default=None, converter=_url)
    """Default URL for webhook events: a URL on this machine, or https."""
    webhook_sender: WebhookSenderSettings = attrs.field(factory=WebhookSenderSettings)
    """Timeouts and retries of webhook deliveries."""
    faults: FaultPlan | None = None
    """Fault plan."""

    def __attrs_post_init__(self) -> None:
        _require(UUID.fullmatch(self.client_account_id), "client_account_id", "a UUID", self.client_account_id)
        _require(self.key_id, "key_id", "text", self.key_id)
        _require(self.api_key, "api_key", "text", "")
        _require(self.token_life > 0, "token_life", "more than 0 seconds", self.token_life)
        _require(self.resolve_after >= 0, "resolve_after", "0 seconds or more", self.resolve_after)
        _require(self.resolve_spread >= 0, "resolve_spread", "0 seconds or more", self.resolve_spread)
        _require(self.truth_limit >= 1, "truth_limit", "1 record or more", self.truth_limit)
        final = self.pending_status in FINAL_STATUSES
        _require(self.pending_status and not final, "pending_status", "a status that is not final", self.pending_status)
        known = self.batch_validation in ("whole", "per_record")
        _require(known, "batch_validation", "'whole' or 'per_record'", self.batch_validation)
        if self.webhook is not None:
            origin_of(self.webhook)
        self._check_management()

    def _check_management(self) -> None:
        _require(self.list_after >= 0, "list_after", "0 seconds or more", self.list_after)
        _require(self.late_for >= 0, "late_for", "0 seconds or more", self.late_for)
        _require(self.page_limit >= 1, "page_limit", "1 or more", self.page_limit)
        _require(self.numbers_limit >= 1, "numbers_limit", "1 or more", self.numbers_limit)
        _require(
            self.pending_numbers in ("shown", "hidden"), "pending_numbers", "'shown' or 'hidden'", self.pending_numbers
        )
        shapes = ("object", "string", "text")
        _require(self.export_shape in shapes, "export_shape", "'object', 'string' or 'text'", self.export_shape)
        both_envelopes = {ResponseVariant.CAMEL_STATUS_INFO, ResponseVariant.FLAT_STATUS_INFO} <= self.response_variants
        _require(
            not both_envelopes,
            "response_variants",
            "a set with one envelope at most: camel-status-info or flat-status-info",
            sorted(self.response_variants),
        )


def _require(condition: object, name: str, rule: str, value: object) -> None:
    if not condition:
        raise ConfigError(f"SandboxSettings.{name} is {value!r}: it must be {rule}")
