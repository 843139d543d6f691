"""A client for the tests of the pure state: it has the time in its hand and looks at answers as plain values."""

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


def said(reply: SandboxResponse) -> Any:
    """The JSON of an answer."""
    return msgspec.json.decode(reply.body)


def printed(name: str) -> Any:
    """A sample of the documentation."""
    return msgspec.json.decode((SAMPLES / f"{name}.json").read_bytes())


def a_feature_set(feature_set_id: str) -> SandboxFeatureSet:
    """A feature set with that id and invented surroundings."""
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
    """A valid record in the form of that version, at `NOW`; a change to None leaves a field out."""
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
    """One client of one sandbox state."""

    def __init__(self, settings: SandboxSettings | None = None) -> None:
        self.state = SandboxState(settings)
        self.settings = self.state.settings
        self.now = NOW
        self.token = ""

    def send(self, method: str, path: str, body: object = b"", **headers: str) -> SandboxResponse:
        """One request with exactly these headers."""
        raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
        return self.state.handle(method, path, headers, raw, self.now)

    def path(self, version: str, name: str, account: str | None = None) -> str:
        """The path of a call of that version."""
        return f"{PATHS[version]}/clients/{account or self.settings.client_account_id}/{name}"

    def mint(self, **changes: object) -> SandboxResponse:
        """Ask for a token; a change to None leaves a field out."""
        fields: dict[str, object] = {
            "key_id": self.settings.key_id,
            "api_key": self.settings.api_key.reveal(),
            **changes,
        }
        body = {name: value for name, value in fields.items() if value is not None}
        return self.send("POST", self.path("v1", "token"), body)

    def log_in(self) -> str:
        """Mint a token and use it from now on."""
        self.token = said(self.mint())["token"]
        return self.token

    def ask(self, method: str, path: str, body: object = b"", **headers: str) -> SandboxResponse:
        """One request with the token in use."""
        if not self.token:
            self.log_in()
        return self.send(method, path, body, authorization=f"Bearer {self.token}", **headers)

    def manage(self, method: str, path: str, body: object = b"") -> SandboxResponse:
        """One request of number management."""
        return self.ask(method, self.path("v1", f"number_management/{path}"), body)

    def move(self, action: str, numbers: Sequence[str], place: int = 0) -> SandboxResponse:
        """Publish or delist numbers in the feature set at that place."""
        feature_set = self.settings.feature_sets[place].id
        return self.manage("POST", f"feature_sets/{feature_set}/numbers/{action}", {"phone_numbers": list(numbers)})

    def submit(self, *records: dict[str, object], version: str = "v2") -> SandboxResponse:
        """Post a batch."""
        body = {"call_records": list(records) or [record(version)]}
        return self.ask("POST", self.path(version, "dynamic_call_records"), body)

    def push(self, pushed: dict[str, object] | None = None, version: str = "v2") -> SandboxResponse:
        """Push one record in real time."""
        body = record(version) if pushed is None else pushed
        return self.ask("POST", self.path(version, "dynamic_call_record"), body)

    def status(self, batch_id: str, version: str = "v2") -> SandboxResponse:
        """Ask for the status of a batch."""
        return self.ask("GET", self.path(version, f"dynamic_call_records?batchId={batch_id}"))

    def words(self, batch_id: str) -> list[str]:
        """The status words of a batch, row by row."""
        return [row["status_info"]["status"] for row in said(self.status(batch_id))["data"]]


def batch_id_of(reply: SandboxResponse, version: str = "v2") -> str:
    """The batch id in the answer to a submit."""
    assert reply.status == 200, said(reply)
    body = said(reply)
    return str(body["message"].rpartition("BatchID: ")[2] if version == "v1" else body["batch_id"])
