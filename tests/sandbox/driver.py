"""Client for tests of `SandboxState`: sets the time itself and reads answers as plain values."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from truecaller_async.sandbox import SandboxFeatureSet, SandboxResponse, SandboxSettings, SandboxState

NOW = 1_800_000_000.0
HOUR_MS = 3_600_000
PATHS = {"v1": "", "v2": "/v2", "v3": "/v3"}
SAMPLES = Path(__file__).parents[1] / "samples"


def json_of(reply: SandboxResponse) -> Any:
    """Decode the JSON body of an answer."""
    return msgspec.json.decode(reply.body)


def documented_sample(name: str) -> Any:
    """Return a sample of the documentation."""
    return msgspec.json.decode((SAMPLES / f"{name}.json").read_bytes())


def make_feature_set(feature_set_id: str) -> SandboxFeatureSet:
    """Return a feature set with this id and generated other values."""
    return SandboxFeatureSet(
        id=feature_set_id,
        name=f"Set {feature_set_id}",
        department_id="department",
        department_name="Cards",
        operation_id="operation",
        calling_operation_id="calling operation",
        calling_operation_name="Delivery",
        process_id="process",
        process_name="First card",
    )


def record(version: str = "v2", **changes: object) -> dict[str, object]:
    """Return a valid record of this version at `NOW`; a change to None omits the field."""
    plus = "+" if version == "v3" else ""
    first, second = ("caller", "receiver") if version == "v1" else ("caller_number", "receiver_number")
    fields: dict[str, object] = {
        first: f"{plus}911234500001",
        second: f"{plus}919234500001",
        "starts_at": int(NOW * 1000),
        "ends_at": int(NOW * 1000) + 4 * HOUR_MS,
        **changes,
    }
    return {name: value for name, value in fields.items() if value is not None}


class Driver:
    """Client of one sandbox state."""

    def __init__(self, settings: SandboxSettings | None = None) -> None:
        self.state = SandboxState(settings)
        self.settings = self.state.settings
        self.now = NOW
        self.token = ""

    def send(self, method: str, path: str, body: object = b"", **headers: str) -> SandboxResponse:
        """Send a request with exactly these headers."""
        raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
        return self.state.handle(method, path, headers, raw, self.now)

    def path(self, version: str, name: str, account: str | None = None) -> str:
        """Return the path of a call of this version."""
        return f"{PATHS[version]}/clients/{account or self.settings.client_account_id}/{name}"

    def mint(self, **changes: object) -> SandboxResponse:
        """Request a token; a change to None omits the field."""
        fields: dict[str, object] = {
            "key_id": self.settings.key_id,
            "api_key": self.settings.api_key.reveal(),
            **changes,
        }
        body = {name: value for name, value in fields.items() if value is not None}
        return self.send("POST", self.path("v1", "token"), body)

    def log_in(self) -> str:
        """Request a token and use it from now on."""
        self.token = json_of(self.mint())["token"]
        return self.token

    def send_authorised(self, method: str, path: str, body: object = b"", **headers: str) -> SandboxResponse:
        """Send a request with the current token."""
        if not self.token:
            self.log_in()
        return self.send(method, path, body, authorization=f"Bearer {self.token}", **headers)

    def send_number_management(self, method: str, path: str, body: object = b"") -> SandboxResponse:
        """Send a request of number management."""
        return self.send_authorised(method, self.path("v1", f"number_management/{path}"), body)

    def change_numbers(self, action: str, numbers: Sequence[str], index: int = 0) -> SandboxResponse:
        """Publish or delist numbers in the feature set with this index."""
        feature_set = self.settings.feature_sets[index].id
        return self.send_number_management(
            "POST", f"feature_sets/{feature_set}/numbers/{action}", {"phone_numbers": list(numbers)}
        )

    def submit(self, *records: dict[str, object], version: str = "v2") -> SandboxResponse:
        """Post a batch."""
        body = {"call_records": list(records) or [record(version)]}
        return self.send_authorised("POST", self.path(version, "dynamic_call_records"), body)

    def push(self, pushed: dict[str, object] | None = None, version: str = "v2") -> SandboxResponse:
        """Push one record in real time."""
        body = record(version) if pushed is None else pushed
        return self.send_authorised("POST", self.path(version, "dynamic_call_record"), body)

    def status(self, batch_id: str, version: str = "v2") -> SandboxResponse:
        """Request the status of a batch."""
        return self.send_authorised("GET", self.path(version, f"dynamic_call_records?batchId={batch_id}"))

    def statuses(self, batch_id: str) -> list[str]:
        """Return the statuses of the records of a batch, row by row."""
        return [row["status_info"]["status"] for row in json_of(self.status(batch_id))["data"]]


def batch_id_of(reply: SandboxResponse, version: str = "v2") -> str:
    """Return the batch id in the answer to a submit."""
    assert reply.status == 200, json_of(reply)
    body = json_of(reply)
    return str(body["message"].rpartition("BatchID: ")[2] if version == "v1" else body["batch_id"])
