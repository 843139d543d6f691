"""The link has the documented form, and contains only values that the app knows."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, urlsplit

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from truecaller_async.errors import ValidationError
from truecaller_async.verification import DeepLink, LinkStyle
from truecaller_async.verification.deep_link import LANGUAGES

NONCE = "RL8YZ41FQMt5Jiak2sc_Ys0OgQA="
FULL = LinkStyle(
    lang="hi",
    privacy_url="https://example.com/privacy?a=1&b=2",
    terms_url="https://example.com/terms",
    login_prefix="getstarted",
    login_suffix="signup",
    cta_prefix="use",
    cta_color="#0087Ff",
    cta_text_color="#ffffff",
    button_shape="round",
    skip_option="useanothernum",
    ttl=8.0,
)


def rules_broken(**style: Any) -> list[str]:
    with pytest.raises(ValidationError) as caught:
        LinkStyle(**style)
    return [problem.rule for problem in caught.value.problems]


def test_plain_link_has_the_four_required_parameters_in_order() -> None:
    assert DeepLink("key", "Harbour Bank", NONCE).url == (
        "truecallersdk://truesdk/web_verify?type=btmsheet&requestNonce=RL8YZ41FQMt5Jiak2sc_Ys0OgQA%3D"
        "&partnerKey=key&partnerName=Harbour%20Bank"
    )


def test_every_option_uses_its_wire_name_and_round_trips() -> None:
    url = DeepLink("key", "Harbour & Sons #1", NONCE, FULL).url
    assert "#" not in url
    assert dict(parse_qsl(urlsplit(url).query)) == {
        "type": "btmsheet",
        "requestNonce": NONCE,
        "partnerKey": "key",
        "partnerName": "Harbour & Sons #1",
        "lang": "hi",
        "privacyUrl": "https://example.com/privacy?a=1&b=2",
        "termsUrl": "https://example.com/terms",
        "loginPrefix": "getstarted",
        "loginSuffix": "signup",
        "ctaPrefix": "use",
        "ctaColor": "#0087Ff",
        "ctaTextColor": "#ffffff",
        "btnShape": "round",
        "skipOption": "useanothernum",
        "ttl": "8000",
    }


def test_ttl_is_seconds_in_the_api_and_milliseconds_on_the_wire() -> None:
    assert "&ttl=30500" in DeepLink("key", "name", NONCE, LinkStyle(ttl=30.5)).url


@pytest.mark.parametrize("field", [one.name for one in attrs.fields(LinkStyle)])
@pytest.mark.parametrize("wrong", ["", "no such word", "#12345", "javascript:alert(1)", 7.99, -1, True, float("nan")])
def test_undocumented_value_is_refused_with_its_field(field: str, wrong: object) -> None:
    assert rules_broken(**{field: wrong})[0].startswith(f"{field}.")


@pytest.mark.parametrize("colour", ["0087ff", "#0087f", "#0087fff", "#0087fg", "%230087ff", "#0087ff\n"])
def test_colour_is_a_hash_and_six_hex_digits(colour: str) -> None:
    assert rules_broken(cta_color=colour) == ["cta_color.form"]


def test_all_problems_are_reported_together_with_hints() -> None:
    with pytest.raises(ValidationError) as caught:
        LinkStyle(lang="xx", ttl=1, button_shape="oval")
    assert {problem.field for problem in caught.value.problems} == {"lang", "ttl", "button_shape"}
    assert "round, rect" in str(caught.value)
    assert "8 to 2,147,484 seconds" in str(caught.value)


@pytest.mark.parametrize("lang", LANGUAGES)
def test_every_documented_language_is_accepted(lang: str) -> None:
    assert f"&lang={lang}" in DeepLink("key", "name", NONCE, LinkStyle(lang=lang)).url


@pytest.mark.parametrize(
    "nonce", ["", "seven77", "x" * 65, "has space", "slash/slash", "plus+plus+", "ünïcödes", "line\nline"]
)
def test_nonce_is_8_to_64_url_safe_characters(nonce: str) -> None:
    with pytest.raises(ValidationError, match="8 to 64 URL-safe"):
        DeepLink("key", "name", nonce)


@pytest.mark.parametrize(("key", "name"), [("", "name"), ("k y", "name"), ("key", ""), ("key", " "), ("key", "a\nb")])
def test_key_and_name_must_be_printable(key: str, name: str) -> None:
    with pytest.raises(ValidationError):
        DeepLink(key, name, NONCE)


@given(
    name=st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1),
    nonce=st.from_regex(r"[A-Za-z0-9_-]{8,64}", fullmatch=True),
)
def test_any_name_round_trips_through_the_link(name: str, nonce: str) -> None:
    query = dict(parse_qsl(urlsplit(DeepLink("key", name, nonce).url).query))
    assert (query["partnerName"], query["requestNonce"]) == (name, nonce)
