"""TrustCaller account of the sandbox: documented answers, permissions and limit, without a socket."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from truecaller_async.errors import ConfigError
from truecaller_async.sandbox import Sandbox, SandboxResponse, SandboxSettings, TrustCallerSettings, TrustCallerState

from .driver import NOW, json_of

SAMPLES = Path(__file__).parents[1] / "samples" / "trustcaller"
BASE = "/trustcaller/api/v1"
QUERIES = ["page", "per_page", "prefix", "from", "to", "number"]


def documented_sample(name: str) -> Any:
    """Return a sample of the documentation."""
    return msgspec.json.decode((SAMPLES / f"{name}.json").read_bytes())


def shape(value: Any) -> Any:
    """Return the structure of a value: names and types; of an array, the shape of its first item."""
    if isinstance(value, dict):
        return {name: shape(part) for name, part in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return type(value).__name__


class Caller:
    """Client of the account that sets the time itself."""

    def __init__(self, settings: TrustCallerSettings | None = None) -> None:
        self.state = TrustCallerState(settings)
        self.token = self.state.settings.token.reveal()
        self.now = NOW

    def send(self, method: str, path: str, body: object = b"", **headers: str) -> SandboxResponse:
        """Send a request with the token; an empty header is omitted."""
        raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
        named = {
            "host": "127.0.0.1:8080",
            "accept": "application/json",
            "authorization": f"Bearer {self.token}",
            **headers,
        }
        present = {name: value for name, value in named.items() if value}
        return self.state.handle(method, BASE + path, present, raw, self.now)

    def get(self, path: str) -> Any:
        """Return the JSON of a 200."""
        reply = self.send("GET", path)
        assert reply.status == 200, reply.body
        return json_of(reply)


@pytest.fixture
def caller() -> Caller:
    return Caller()


def test_documented_number_is_the_first_of_the_list(caller: Caller) -> None:
    answered, sample = caller.get("/numbers?per_page=50"), documented_sample("numbers_response")
    assert answered["data"][0] == sample["data"][0]
    assert answered.keys() == sample.keys()
    assert answered["links"].keys() == sample["links"].keys()
    assert answered["meta"] == {"current_page": 1, "per_page": 50, "total": 25}
    assert (answered["links"]["prev"], answered["links"]["next"]) == (None, None)


def test_pages_are_complete_and_the_links_drop_the_filters(caller: Caller) -> None:
    whole = caller.get("/numbers")["data"]
    pages = [caller.get(f"/numbers?per_page=10&page={number}") for number in (1, 2, 3, 4)]
    assert [item for page in pages for item in page["data"]] == whole
    assert pages[1]["links"] == {
        "first": f"http://127.0.0.1:8080{BASE}/numbers?page=1",
        "last": f"http://127.0.0.1:8080{BASE}/numbers?page=3",
        "prev": f"http://127.0.0.1:8080{BASE}/numbers?page=1",
        "next": f"http://127.0.0.1:8080{BASE}/numbers?page=3",
    }
    assert pages[3]["data"] == []


def test_test_numbers_with_the_prefix_are_the_sample(caller: Caller) -> None:
    assert caller.get("/test-numbers?prefix=8613") == documented_sample("test_numbers_response")
    everything = caller.get("/test-numbers")
    assert everything["count"] == len(everything["data"]) > 1
    assert everything["filtered_by_prefix"] is None
    assert caller.get("/test-numbers?prefix=999")["data"] == []


def test_documented_call_is_the_newest_and_can_be_had_alone(caller: Caller) -> None:
    answered, sample = caller.get("/calls"), documented_sample("calls_response")
    assert answered["data"][0] == sample["data"][0]
    assert caller.get("/calls/98765") == documented_sample("call_response")
    starts = [call["start_at"] for call in answered["data"]]
    assert starts == sorted(starts, reverse=True)


def test_dates_choose_calls_by_day_both_days_included(caller: Caller) -> None:
    days = {call["start_at"][:10] for call in caller.get("/calls?from=2026-05-10&to=2026-05-12")["data"]}
    assert days == {"2026-05-10", "2026-05-11", "2026-05-12"}
    assert caller.get("/calls?from=2026-05-16")["data"] == []


def test_callers_are_masked_in_every_call(caller: Caller) -> None:
    assert all(call["caller_id"].endswith("XXX") for call in caller.get("/calls")["data"])


def test_missing_call_is_the_documented_404(caller: Caller) -> None:
    reply = caller.send("GET", "/calls/1")
    assert (reply.status, json_of(reply)) == (404, documented_sample("call_error_404"))


@pytest.mark.parametrize(
    ("number", "is_live"), [("120000486562997", True), ("%2B120000486562997", False), ("447900000123", False)]
)
def test_check_matches_own_numbers_exactly(caller: Caller, number: str, is_live: bool) -> None:
    assert caller.get(f"/calls/check?number={number}") == {"call_received": is_live}


def test_own_number_without_a_call_is_not_live() -> None:
    caller = Caller(TrustCallerSettings(live=frozenset()))
    assert caller.get("/calls/check?number=120000486562997") == {"call_received": False}


def test_check_without_a_number_is_the_documented_422(caller: Caller) -> None:
    for path in ("/calls/check", "/calls/check?number="):
        reply = caller.send("GET", path)
        assert (reply.status, json_of(reply)) == (422, documented_sample("error_422"))


def test_key_is_created_listed_used_and_revoked(caller: Caller) -> None:
    made = caller.send("POST", "/auth/keys", documented_sample("create_key_request"))
    answered = json_of(made)
    assert made.status == 201
    assert shape(answered) == shape(documented_sample("create_key_response"))
    assert (answered["id"], answered["name"]) == (7, "Production server")
    assert answered["token"].startswith("7|")
    first = caller.token
    listed = caller.get("/auth/keys")
    assert listed["count"] == 2
    assert [key["last_used_at"] is None for key in listed["data"]] == [False, True]
    assert answered["token"] not in str(listed)
    caller.token = answered["token"]
    assert shape(caller.get("/auth/keys")["data"][1]) == shape(documented_sample("list_keys_response")["data"][0])
    caller.token = first
    revoked = caller.send("DELETE", "/auth/keys/7")
    assert (revoked.status, json_of(revoked)) == (200, documented_sample("revoke_key_response"))
    assert caller.send("DELETE", "/auth/keys/7").status == 404
    caller.token = answered["token"]
    assert caller.send("GET", "/numbers").status == 401


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "The name field is required."),
        (b"\xff", "The name field is required."),
        ([], "The name field is required."),
        ({"name": ""}, "The name field is required."),
        (b'{"name": "\\ud800"}', "The name field is required."),
        (b"[" * 5000, "The name field is required."),
        ({"name": 7}, "The name field must be a string."),
        ({"name": "n" * 65}, "The name field must not be greater than 64 characters."),
    ],
)
def test_key_without_a_valid_name_is_a_422(caller: Caller, body: object, message: str) -> None:
    reply = caller.send("POST", "/auth/keys", body)
    assert (reply.status, json_of(reply)) == (422, {"message": message, "errors": {"name": [message]}})
    assert caller.get("/auth/keys")["count"] == 1


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/numbers?per_page=0", "per_page"),
        ("/numbers?per_page=1001", "per_page"),
        ("/numbers?page=x", "page"),
        ("/calls?from=15.05.2026", "from"),
        ("/calls?to=2026-02-30", "to"),
        ("/test-numbers?prefix=a", "prefix"),
    ],
)
def test_bad_query_is_a_422_that_names_the_field(caller: Caller, path: str, field: str) -> None:
    reply = caller.send("GET", path)
    assert reply.status == 422
    assert list(json_of(reply)["errors"]) == [field]


@pytest.mark.parametrize("header", ["", "Bearer 1|another", "Basic abc", "Bearer ", "Bearer \udcff"])
def test_invalid_token_is_the_documented_401(caller: Caller, header: str) -> None:
    reply = caller.send("GET", "/numbers", authorization=header)
    assert (reply.status, json_of(reply)) == (401, documented_sample("error_401"))


@pytest.mark.parametrize(
    ("granted", "path", "status"),
    [
        ((), "/numbers", 403),
        (("api_keys_manage",), "/auth/keys", 403),
        (("api_access",), "/auth/keys", 403),
        (("api_access",), "/numbers", 200),
        (("api_access", "api_keys_manage"), "/auth/keys", 200),
    ],
)
def test_missing_permission_is_the_documented_403(granted: Collection[str], path: str, status: int) -> None:
    reply = Caller(TrustCallerSettings(permissions=frozenset(granted))).send("GET", path)
    assert reply.status == status
    if status == 403:
        assert json_of(reply) == documented_sample("error_403")


def test_sixty_requests_a_minute_pass_and_the_next_gets_a_wait(caller: Caller) -> None:
    assert [caller.send("GET", "/numbers").status for _ in range(60)] == [200] * 60
    caller.now += 59.5
    refused = caller.send("GET", "/numbers")
    assert (refused.status, refused.headers["retry-after"]) == (429, "1")
    caller.now += 0.5
    assert caller.send("GET", "/numbers").status == 200
    assert (caller.state.peak, caller.state.requests[429]) == (60, 1)


def test_second_key_has_no_limit_of_its_own(caller: Caller) -> None:
    made = json_of(caller.send("POST", "/auth/keys", {"name": "n"}))
    for _ in range(59):
        caller.send("GET", "/numbers")
    caller.token = made["token"]
    assert caller.send("GET", "/numbers").status == 429


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/nowhere", 404),
        ("GET", "/calls/*", 404),
        ("GET", "/auth/keys/check", 404),
        ("POST", "/numbers", 405),
        ("GET", "/auth/keys/7", 405),
    ],
)
def test_unknown_path_or_method_is_reported(caller: Caller, method: str, path: str, status: int) -> None:
    reply = caller.send(method, path)
    assert reply.status == status
    assert list(json_of(reply)) == ["message"]


def test_invalid_host_header_is_harmless(caller: Caller) -> None:
    reply = caller.send("GET", "/numbers", host="\udcff")
    assert json_of(reply)["links"]["first"] == f"http://{BASE}/numbers?page=1"


def test_request_that_does_not_accept_json_is_refused(caller: Caller) -> None:
    reply = caller.send("GET", "/numbers", accept="*/*")
    assert reply.status == 406
    assert "Accept: application/json" in json_of(reply)["message"]


METHODS = st.sampled_from(["GET", "POST", "DELETE", "PUT"])
PATHS = st.sampled_from(
    ["/numbers", "/test-numbers", "/calls", "/calls/check", "/calls/5", "/auth/keys", "/auth/keys/6"]
)


@given(METHODS, PATHS | st.text(), st.dictionaries(st.sampled_from(QUERIES), st.text()), st.binary() | st.text())
def test_every_request_gets_a_json_answer(method: str, path: str, query: dict[str, str], body: bytes | str) -> None:
    caller = Caller()
    raw = body if isinstance(body, bytes) else msgspec.json.encode({"name": body})
    reply = caller.send(method, f"{path}?{urlencode(query)}", raw)
    assert reply.status in (200, 201, 404, 405, 422)
    assert isinstance(json_of(reply), dict)


def test_same_seed_gives_the_same_account_and_another_seed_does_not() -> None:
    def answered(seed: int) -> list[bytes]:
        caller = Caller(TrustCallerSettings(seed=seed))
        paths = ("/numbers", "/calls", "/auth/keys")
        return [caller.token.encode(), caller.send("POST", "/auth/keys", {"name": "n"}).body] + [
            caller.send("GET", path).body for path in paths
        ]

    assert answered(1) == answered(1)
    assert all(one != other for one, other in zip(answered(1)[:4], answered(2)[:4], strict=True))


@pytest.mark.parametrize("invalid", [{"limit": 0}, {"per": 0.0}, {"permissions": {"all"}}, {"token": "a b"}], ids=str)
def test_setting_out_of_its_range_is_refused(invalid: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(invalid))):
        TrustCallerSettings(**invalid)


def test_no_setting_shows_the_token() -> None:
    settings = SandboxSettings(seed=3)
    assert settings.trustcaller.token.reveal() not in repr(settings)
    assert settings.trustcaller.seed == 3


async def test_variables_point_to_it_and_a_reset_starts_again() -> None:
    async with await Sandbox.start() as sandbox:
        variables = sandbox.environment()
        assert variables["TRUSTCALLER_BASE_URL"] == f"{sandbox.base_url}{BASE}"
        before = sandbox.trustcaller
        assert before.settings.token.reveal() == variables["TRUSTCALLER_TOKEN"]
        sandbox.reset()
        assert sandbox.trustcaller is not before
