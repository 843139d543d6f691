"""Only Truecaller's own address is accepted, and URL libraries parse each accepted address in the same way."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from truecaller_async.errors import ConfigError, ValidationError
from truecaller_async.verification import Endpoints
from truecaller_async.verification.endpoints import Endpoint

from .hostile_endpoints import ALLOWED, HOST, NOT_ALLOWED


@pytest.mark.fault("S21")
def test_address_table_is_complete() -> None:
    assert len(NOT_ALLOWED) + len(ALLOWED) >= 32


@pytest.mark.fault("S21")
@pytest.mark.parametrize("endpoint", ALLOWED)
def test_good_endpoints_are_accepted(endpoint: str) -> None:
    assert Endpoints().check(endpoint) == Endpoint("https", HOST, 443, "/v1/default")


@pytest.mark.fault("S21")
@pytest.mark.parametrize("name", NOT_ALLOWED)
def test_hostile_endpoints_are_refused_by_a_named_rule(name: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Endpoints().check(NOT_ALLOWED[name])
    (problem,) = caught.value.problems
    assert problem.field == "endpoint"
    assert problem.rule.startswith("endpoint.")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("a user", "characters"),
        ("a fragment behind", "characters"),
        ("a backslash before the host", "characters"),
        ("full-width letters", "characters"),
        ("513 characters", "length"),
        ("plain http", "https"),
        ("another port", "https"),
        ("a name that ends alike", "host"),
        ("a step up", "form"),
    ],
)
def test_named_rule_is_the_violated_one(name: str, rule: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Endpoints().check(NOT_ALLOWED[name])
    assert caught.value.problems[0].rule == f"endpoint.{rule}"


def test_512_characters_are_accepted() -> None:
    endpoint = f"https://{HOST}/v1/".ljust(512, "x")
    assert Endpoints().check(endpoint).target == endpoint.removeprefix(f"https://{HOST}")


def test_query_is_kept() -> None:
    assert Endpoints().check(f"https://{HOST}/v1/default?fields=a,b").target == "/v1/default?fields=a,b"


def test_only_named_hosts_are_accepted() -> None:
    endpoints = Endpoints(hosts=("profile4-eu.truecaller.com",))
    assert endpoints.check("https://profile4-eu.truecaller.com/v1/x").host == "profile4-eu.truecaller.com"
    with pytest.raises(ValidationError):
        endpoints.check(ALLOWED[0])


MARKS = st.sampled_from(
    [*"/\\@#?:%.&=+ \t\n\x00[]", "//", "..", "%2f", "%5c", "evil.example", HOST, "/v1/", "https:", "\uff54"]
)


@pytest.mark.fault("S21")
@given(st.lists(MARKS | st.sampled_from("abz09-_~"), max_size=12).map("".join))
def test_accepted_endpoint_is_parsed_the_same_by_every_library(rest: str) -> None:
    for text in (f"https://{HOST}{rest}", f"https://{HOST}/v1/{rest}", f"https://{rest}{HOST}/v1/default", rest):
        try:
            admitted = Endpoints().check(text)
        except ValidationError:
            continue
        for host, port, path in (
            (urlsplit(text).hostname, urlsplit(text).port or 443, urlsplit(text).path),
            (URL(text).host, URL(text).port, URL(text).path),
        ):
            assert (host, port) == (admitted.host, admitted.port) == (HOST, 443)
            assert path.startswith("/v1/")
            assert path == admitted.target.partition("?")[0]


@pytest.mark.parametrize(
    "hosts",
    ["profile.example", (), ("https://profile.example",), ("Profile.example",), ("a.example/v1",), (7,), ("[::1]",)],
)
def test_hosts_that_are_no_bare_names_are_refused(hosts: object) -> None:
    with pytest.raises(ConfigError):
        Endpoints(hosts=hosts)  # type: ignore[arg-type]


def test_test_setting_and_port_go_together() -> None:
    with pytest.raises(ConfigError, match="for tests"):
        Endpoints(hosts=("127.0.0.1:8080",))
    with pytest.raises(ConfigError, match="for tests"):
        Endpoints(allow_loopback=True)
    with pytest.raises(ConfigError):
        Endpoints(hosts=("127.0.0.1:99999",), allow_loopback=True)
    endpoints = Endpoints(hosts=("127.0.0.1:8080",), allow_loopback=True)
    assert endpoints.check("http://127.0.0.1:8080/v1/default") == Endpoint("http", "127.0.0.1", 8080, "/v1/default")
    for other in (*ALLOWED, "http://127.0.0.1:8081/v1/default", "http://127.0.0.1/v1/default"):
        with pytest.raises(ValidationError):
            endpoints.check(other)
