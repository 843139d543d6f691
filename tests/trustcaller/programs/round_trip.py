"""Every call once, with the standard library alone. Address and token come from the environment."""

import json
import os
from typing import Any
from urllib.request import Request, urlopen


def call(method: str, path: str, body: object = None) -> Any:
    headers = {"Accept": "application/json", "Authorization": "Bearer " + os.environ["TRUSTCALLER_TOKEN"]}
    if body is not None:
        headers["Content-Type"] = "application/json"
    sent = None if body is None else json.dumps(body).encode()
    request = Request(os.environ["TRUSTCALLER_BASE_URL"] + path, sent, headers, method=method)  # noqa: S310 - loopback
    with urlopen(request) as answer:  # noqa: S310 - loopback
        return json.load(answer)


numbers = call("GET", "/numbers?per_page=10")
print("number", numbers["data"][0]["number"])  # noqa: T201
print("test number", call("GET", "/test-numbers?prefix=8613")["data"][0]["test_number"])  # noqa: T201
calls = call("GET", "/calls?from=2026-05-01&to=2026-05-16")
print("caller", calls["data"][0]["caller_id"])  # noqa: T201
print("call", call("GET", f"/calls/{calls['data'][0]['id']}")["data"]["call_unique_id"])  # noqa: T201
live = call("GET", f"/calls/check?number={numbers['data'][0]['number']}")["call_received"]
print("live", json.dumps(live))  # noqa: T201
key = call("POST", "/auth/keys", {"name": "Round trip"})
print("key", key["name"])  # noqa: T201
print("keys", call("GET", "/auth/keys")["count"])  # noqa: T201
print("revoked", call("DELETE", f"/auth/keys/{key['id']}")["message"])  # noqa: T201
