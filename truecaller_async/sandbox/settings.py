"""What a sandbox is told before it starts: who may call, how often, and what it says where the documentation is silent.

Everything has a default, and the defaults are drawn from `seed`: the same seed gives the same account, key, labels,
feature sets, tokens and ids on every machine, so that a failing run can be repeated.

The documentation leaves open what a batch does with one bad record, which words a status may have, how long a batch
or a listing takes, how large a page is, and what an export's answer looks like. Each of these is a setting here, so
that a client can be tried against every reading. Where the documentation has two readings, the other one is an
`ResponseVariant`.
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
"""Limits by name: the documented ones; a minute in six seconds; figures that nobody reaches ("off").

"off" has figures rather than no rules, so that a client that is told the sandbox's limits does not hold itself back."""

FINAL_STATUSES = ("success", "failed")
"""The words of a record's final status in the answers of this sandbox."""


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
    """The settings of one sandbox. Durations are seconds.

    `limits`: what is counted; `enforce=False` counts and admits all the same. `token_life`: how long a token works.
    `resolve_after`: from the acceptance of a batch to its final statuses; with `resolve_spread` its records become
    final one after the other, in a scrambled order, over so many seconds more. `pending_status`: the status before
    that. `batch_validation`: a record that breaks a rule refuses the whole batch ("whole"), or fails alone
    ("per_record"). `label_required`: a record without `label_id` is refused. `mask_numbers`: status answers show
    asterisks for numbers. `truth_limit`: applied records that are remembered; beyond it the oldest batches are
    forgotten, their status is then unknown. One takes about 0.2 kB of memory in a full batch, 1.1 kB alone. `labels`,
    `feature_sets`: what the account has.

    `list_after`: from the publishing of a number until it is listed, and from its delisting until it is gone.
    `pending_numbers`: in between the number details show it with the status "pending" ("shown"), or as it was before
    ("hidden"). `page_limit`: numbers or feature sets on a page where the request does not say. `numbers_limit`: numbers
    that the account may have, listed or on their way; a listing that would need more is refused. `export_shape`: an
    export answers `{"url": ...}` ("object"), the URL as a JSON string ("string"), or as plain text ("text").
    `response_variants`: other forms of answers, by name. `late_for`: how long a batch is unknown where batches are late,
    and after the final words how long rows are missing where rows are late.
    `trustcaller`: the neighbour's account, on its own path. `webhook`: the URL to which events are fired where an order
    names none, on this machine or https; `firing`: how they are delivered. `faults`: what goes wrong, and when.

    Raises `ConfigError` where a value is out of its range.
    """

    seed: int = 0
    client_account_id: str = attrs.field(default=attrs.Factory(_account, takes_self=True))
    key_id: str = attrs.field(default=attrs.Factory(_key_id, takes_self=True))
    api_key: Secret = attrs.field(default=attrs.Factory(_api_key, takes_self=True), converter=_secret)
    labels: tuple[SandboxLabel, ...] = attrs.field(default=attrs.Factory(_labels, takes_self=True))
    limits: Limits = attrs.field(factory=Limits.documented)
    enforce: bool = True
    token_life: float = 3600.0
    resolve_after: float = 2.0
    resolve_spread: float = 0.0
    pending_status: str = "pending"
    batch_validation: Literal["whole", "per_record"] = "whole"
    label_required: bool = False
    mask_numbers: bool = False
    truth_limit: int = 2_000_000
    feature_sets: tuple[SandboxFeatureSet, ...] = attrs.field(default=attrs.Factory(_feature_sets, takes_self=True))
    list_after: float = 2.0
    pending_numbers: Literal["shown", "hidden"] = "shown"
    page_limit: int = 50
    numbers_limit: int = 100_000
    export_shape: Literal["object", "string", "text"] = "object"
    response_variants: frozenset[ResponseVariant] = attrs.field(default=frozenset(), converter=_response_variants)
    late_for: float = 1.0
    trustcaller: TrustCallerSettings = attrs.field(default=attrs.Factory(_trustcaller, takes_self=True))
    webhook: Secret | None = attrs.field(default=None, converter=_url)
    webhook_sender: WebhookSenderSettings = attrs.field(factory=WebhookSenderSettings)
    faults: FaultPlan | None = None

    def __attrs_post_init__(self) -> None:
        _require(UUID.fullmatch(self.client_account_id), "client_account_id", "a UUID", self.client_account_id)
        _require(self.key_id, "key_id", "text", self.key_id)
        _require(self.api_key, "api_key", "text", "")
        _require(self.token_life > 0, "token_life", "more than 0 seconds", self.token_life)
        _require(self.resolve_after >= 0, "resolve_after", "0 seconds or more", self.resolve_after)
        _require(self.resolve_spread >= 0, "resolve_spread", "0 seconds or more", self.resolve_spread)
        _require(self.truth_limit >= 1, "truth_limit", "1 record or more", self.truth_limit)
        final = self.pending_status in FINAL_STATUSES
        _require(self.pending_status and not final, "pending_status", "a word that is not final", self.pending_status)
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
        both = {ResponseVariant.CAMEL_STATUS_INFO, ResponseVariant.FLAT_STATUS_INFO} <= self.response_variants
        _require(
            not both,
            "response_variants",
            "one envelope at most, camel-status-info or flat-status-info",
            sorted(self.response_variants),
        )


def _require(condition: object, name: str, rule: str, value: object) -> None:
    if not condition:
        raise ConfigError(f"SandboxSettings.{name} is {value!r}: it must be {rule}")
