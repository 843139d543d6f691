"""Settings of the sandbox: reproducible defaults, named speeds, rejected values."""

from __future__ import annotations

from typing import Any

import pytest

from truecaller_async.errors import ConfigError
from truecaller_async.options import UUID, Credentials, Limits
from truecaller_async.sandbox import SPEEDS, SandboxSettings


def figures(limits: Limits) -> dict[str, tuple[int, float]]:
    return {rule.name: (rule.limit, rule.per) for rule in limits}


def test_same_seed_gives_the_same_account_and_another_seed_does_not() -> None:
    assert SandboxSettings(seed=7) == SandboxSettings(seed=7)
    assert SandboxSettings(seed=7).client_account_id != SandboxSettings(seed=8).client_account_id


def test_generated_values_are_distinct_uuids_that_a_client_accepts() -> None:
    settings = SandboxSettings()
    values = [settings.client_account_id, settings.key_id, settings.api_key.reveal()]
    values += [label.id for label in settings.labels]
    assert len(set(values)) == 7
    assert all(UUID.fullmatch(value) for value in values)
    assert "c6d86658-008d-4c08-98fb-2bf2649d59a5" in values
    Credentials(settings.client_account_id, settings.key_id, settings.api_key)


def test_real_speed_is_the_documented_speed() -> None:
    assert SPEEDS["real"] == Limits.documented() == SandboxSettings().limits


def test_fast_speed_makes_a_minute_six_seconds() -> None:
    assert figures(SPEEDS["fast"]) == {"batch": (60, 6.0), "token": (100, 1.0), "mint": (10, 180.0)}


def test_off_speed_has_the_same_limits_with_unreachable_values() -> None:
    assert figures(SPEEDS["off"]).keys() == figures(Limits.documented()).keys()
    assert min(limit / per for limit, per in figures(SPEEDS["off"]).values()) >= 1_000_000


def test_key_is_not_shown() -> None:
    settings = SandboxSettings(api_key="open-sesame")
    assert settings.api_key.reveal() == "open-sesame"
    assert "open-sesame" not in repr(settings)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("client_account_id", "not-a-uuid"),
        ("key_id", ""),
        ("api_key", ""),
        ("token_life", 0.0),
        ("resolve_after", -1.0),
        ("resolve_spread", -0.5),
        ("truth_limit", 0),
        ("pending_status", ""),
        ("pending_status", "success"),
        ("batch_validation", "some"),
        ("list_after", -1.0),
        ("late_for", -1.0),
        ("page_limit", 0),
        ("numbers_limit", 0),
        ("pending_numbers", "sometimes"),
        ("export_shape", "pigeon"),
        ("response_variants", {"unheard-of"}),
    ],
)
def test_wrong_setting_is_refused_by_name(name: str, value: Any) -> None:
    changes: dict[str, Any] = {name: value}
    with pytest.raises(ConfigError, match=rf"SandboxSettings\.{name} "):
        SandboxSettings(**changes)
