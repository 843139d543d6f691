"""Answers and samples for the tests of the protocol."""

from __future__ import annotations

import json
from pathlib import Path

from truecaller_async.models import Answer, CallRecord

SAMPLES = Path(__file__).parent.parent / "samples"
ACCOUNT = "91c173bb-28d8-4030-9722-8663ff9589f3"
NOW = 1_753_246_858.0


def answer(body: object = b"", status: int = 200, **headers: str) -> Answer:
    """Return an answer with this body: bytes unchanged, any other value as JSON.

    Header names are written with `_` for `-`.
    """
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Answer(status, {name.replace("_", "-"): value for name, value in headers.items()}, raw)


def sample(name: str, status: int = 200) -> Answer:
    """Return a sample as an answer, byte for byte."""
    return Answer(status, {"content-type": "application/json"}, (SAMPLES / name).read_bytes())


def compact(name: str) -> bytes:
    """Return a sample without the spaces between its parts, with its keys in order."""
    return json.dumps(json.loads((SAMPLES / name).read_bytes()), separators=(",", ":")).encode()


def record(
    caller: str = "911234567898",
    receiver: str = "919234567898",
    *,
    starts_at: int = 1_753_088_751_000,
    ends_at: int = 1_753_103_151_000,
    label_id: str | None = None,
    label_name: str | None = None,
    reason: str | None = None,
) -> CallRecord:
    """Return a canonical record."""
    return CallRecord(caller, receiver, starts_at, ends_at, label_id, label_name, reason)
