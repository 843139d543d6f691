"""What a sandbox is told before it starts: who may call, how often, and what it says where the documentation is silent.

Everything has a default, and the defaults are drawn from `seed`: the same seed gives the same account, key, labels,
tokens and ids on every machine, so that a failing run can be repeated. None of these values exists anywhere else.

The documentation leaves open what a batch does with one bad record, which words a status may have, and how long a
batch takes. Each of these is a setting here, so that a client can be tried against every reading.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

import attrs

from truecaller_async.errors import ConfigError
from truecaller_async.models import Secret
from truecaller_async.options import UUID, Limits

SPEEDS: Mapping[str, Limits] = MappingProxyType(
    {
        "real": Limits.documented(),
        "fast": Limits.documented().replace(batch=(60, 6.0), token=(100, 1.0), mint=(10, 180.0)),
        "off": Limits.documented().replace(batch=(1_000_000, 1.0), token=(1_000_000, 1.0), mint=(1_000_000, 1.0)),
    }
)
"""Limits by name: the documented ones; a minute in six seconds; figures that nobody reaches ("off").

"off" has figures rather than no rules, so that a client that is told the sandbox's limits does not hold itself back."""

FINAL_WORDS = ("success", "failed")
"""The words of a record's final status in the answers of this sandbox."""


def invented(seed: int, what: str) -> str:
    """A UUID that depends on nothing but the seed and the name of the thing."""
    bits = random.Random(f"{what} {seed}").getrandbits(128)  # noqa: S311 - repeatable on purpose, guards nothing
    return str(uuid.UUID(int=bits, version=4))


@attrs.frozen
class SandboxLabel:
    """A dynamic label of the account. From "Truecaller for Business: Dynamic labels"."""

    id: str
    name: str
    category: int = 10
    sub_category: int = 142


def _secret(value: str | Secret) -> Secret:
    return value if isinstance(value, Secret) else Secret(value)


def _account(settings: SandboxSettings) -> str:
    return invented(settings.seed, "account")


def _key_id(settings: SandboxSettings) -> str:
    return invented(settings.seed, "key")


def _api_key(settings: SandboxSettings) -> Secret:
    return Secret(invented(settings.seed, "secret"))


DOCUMENTED_LABELS = (
    SandboxLabel("c6d86658-008d-4c08-98fb-2bf2649d59a5", "Centro Bank"),
    SandboxLabel("255297eb-7f13-44f9-967a-f287ff0f5025", "FlowerEra"),
)
"""The label ids that the documentation's own samples use, so that its requests can be tried as they are printed."""


def _labels(settings: SandboxSettings) -> tuple[SandboxLabel, ...]:
    return (
        SandboxLabel(invented(settings.seed, "label 1"), "Harbour Savings Bank"),
        SandboxLabel(invented(settings.seed, "label 2"), "Blue Fern Clinic", category=1, sub_category=16),
        *DOCUMENTED_LABELS,
    )


@attrs.frozen(kw_only=True)
class SandboxSettings:
    """The settings of one sandbox. Durations are seconds.

    `limits`: what is counted; `enforce=False` counts and admits all the same. `token_life`: how long a token works.
    `resolve_after`: from the acceptance of a batch to its final statuses; with `resolve_spread` its records become
    final one after the other, in a scrambled order, over so many seconds more. `pending_word`: the status before
    that. `batch_validation`: a record that breaks a rule refuses the whole batch ("whole"), or fails alone
    ("per_record"). `label_required`: a record without `label_id` is refused. `mask_numbers`: status answers show
    asterisks for numbers. `truth_limit`: applied records that are remembered; beyond it the oldest batches are
    forgotten, their status is then unknown. `labels`: the dynamic labels of the account.

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
    pending_word: str = "pending"
    batch_validation: Literal["whole", "per_record"] = "whole"
    label_required: bool = False
    mask_numbers: bool = False
    truth_limit: int = 2_000_000

    def __attrs_post_init__(self) -> None:
        _demand(UUID.fullmatch(self.client_account_id), "client_account_id", "a UUID", self.client_account_id)
        _demand(self.key_id, "key_id", "text", self.key_id)
        _demand(self.api_key, "api_key", "text", "")
        _demand(self.token_life > 0, "token_life", "more than 0 seconds", self.token_life)
        _demand(self.resolve_after >= 0, "resolve_after", "0 seconds or more", self.resolve_after)
        _demand(self.resolve_spread >= 0, "resolve_spread", "0 seconds or more", self.resolve_spread)
        _demand(self.truth_limit >= 1, "truth_limit", "1 record or more", self.truth_limit)
        final = self.pending_word in FINAL_WORDS
        _demand(self.pending_word and not final, "pending_word", "a word that is not final", self.pending_word)
        known = self.batch_validation in ("whole", "per_record")
        _demand(known, "batch_validation", "'whole' or 'per_record'", self.batch_validation)


def _demand(kept: object, name: str, rule: str, value: object) -> None:
    if not kept:
        raise ConfigError(f"SandboxSettings.{name} is {value!r}: it must be {rule}")
