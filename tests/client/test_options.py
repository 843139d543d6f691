"""Options are checked when they are created."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from truecaller_async import CampaignOptions, ConfigError, Limits, PollPolicy, RateLimit, RetryPolicy, Timeouts
from truecaller_async.models import Secret
from truecaller_async.options import CALLS, Credentials

ACCOUNT = "00000000-0000-4000-8000-000000000001"
CANARY = "c4n4ry-0f-4-k3y"

invalid_numbers = st.sampled_from([0, -1, -0.5, float("nan"), float("inf"), True, None, "10"])


@given(invalid_numbers)
@pytest.mark.parametrize(
    "make",
    [
        lambda value: Timeouts(connect=value),
        lambda value: Timeouts(read=value),
        lambda value: RetryPolicy(attempts=value),
        lambda value: RetryPolicy(total=value),
        lambda value: RetryPolicy(initial=value),
        lambda value: RetryPolicy(cap=value),
        lambda value: PollPolicy(first=value),
        lambda value: PollPolicy(factor=value),
        lambda value: PollPolicy(cap=value),
        lambda value: PollPolicy(deadline=value),
        lambda value: RateLimit("any", value, 1.0),
        lambda value: RateLimit("any", 1, value),
        lambda value: CampaignOptions(linger=value),
        lambda value: CampaignOptions(max_unresolved=value),
    ],
)
def test_impossible_number_is_refused_by_name(make: Callable[[Any], object], value: object) -> None:
    with pytest.raises(ConfigError, match=r"\w+\.\w+ is .*: it must be"):
        make(value)


@pytest.mark.parametrize("name", ["on_ambiguous", "same_pair", "correlate", "isolate", "dedupe"])
def test_invalid_choice_is_refused_with_the_valid_choices(name: str) -> None:
    with pytest.raises(ConfigError, match=f"CampaignOptions.{name} is 'perhaps': it must be one of"):
        CampaignOptions(**{name: "perhaps"})  # type: ignore[arg-type]


def test_shrinking_poll_intervals_are_refused() -> None:
    with pytest.raises(ConfigError, match="factor"):
        PollPolicy(factor=0.9)


@pytest.mark.parametrize(
    "given_values",
    [
        ("not-a-uuid", "key", Secret(CANARY)),
        (None, "key", Secret(CANARY)),
        (ACCOUNT + "\n", "key", Secret(CANARY)),
        (ACCOUNT, "", Secret(CANARY)),
        (ACCOUNT, "key\r\n", Secret(CANARY)),
        (ACCOUNT, 5, Secret(CANARY)),
        (ACCOUNT, "key", Secret("")),
        (ACCOUNT, "key", Secret(CANARY + "\n")),
        (ACCOUNT, "key", Secret(5)),  # type: ignore[arg-type]
        (ACCOUNT, "key", CANARY),
    ],
)
def test_unusable_credentials_are_refused_without_showing_them(given_values: Any) -> None:
    with pytest.raises(ConfigError, match="TRUECALLER_") as refused:
        Credentials(*given_values)
    assert CANARY not in str(refused.value)


def test_documented_limits_count_the_documented_calls() -> None:
    counted = {rule.name: {call for call in CALLS if rule.counts(call)} for rule in Limits.documented()}
    assert counted == {"token": set(CALLS) - {"mint"}, "batch": {"submit"}, "mint": {"mint"}}
    figures = {rule.name: (rule.limit, rule.per, rule.scope) for rule in Limits.documented()}
    assert figures == {"token": (100, 1.0, "token"), "batch": (60, 60.0, "token"), "mint": (10, 1800.0, "account")}


def test_conservative_limits_count_polls_with_batches() -> None:
    rule = Limits.careful().named("batch")
    assert rule is not None
    assert [call for call in CALLS if rule.counts(call)] == ["submit", "status"]


def test_limits_are_parsed_from_text_and_the_others_keep_defaults() -> None:
    limits = Limits.documented().parse(" batch=120/6, token=50/0.5,")
    assert [(rule.name, rule.limit, rule.per) for rule in limits] == [
        ("token", 50, 0.5),
        ("batch", 120, 6.0),
        ("mint", 10, 1800.0),
    ]
    assert limits.parse("") == limits


@pytest.mark.parametrize(
    "text",
    ["batch", "batch=60", "batch=60/0", "batch=0/60", "batch=-1/60", "other=1/1", "batch=\u0661/1", "batch=1/1e9"],
)
def test_invalid_limits_are_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        Limits.documented().parse(text)
    with pytest.raises(ConfigError):
        Limits.documented().parse(f"batch={'9' * 5000}/1")


def test_duplicate_limit_names_and_unknown_calls_are_refused() -> None:
    rule = RateLimit("any", 1, 1.0)
    with pytest.raises(ConfigError, match="share a name"):
        Limits((rule, rule))
    with pytest.raises(ConfigError, match="names the call 'pushes'"):
        RateLimit("any", 1, 1.0, calls=("pushes",))
    with pytest.raises(ConfigError, match="scope"):
        RateLimit("any", 1, 1.0, "machine")  # type: ignore[arg-type]
