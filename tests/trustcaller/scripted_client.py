"""A TrustCaller client with a scripted transport, for the virtual loop."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import msgspec

from tests.resources.script import answer
from tests.virtual import VirtualClock
from truecaller_async.models import Answer, Secret
from truecaller_async.ports import Transport
from truecaller_async.telemetry import LoggingObserver
from truecaller_async.trustcaller import TrustCallerClient
from truecaller_async.trustcaller.requester import RequesterEnvironment, RequestSettings, TrustCallerRequester

SAMPLES = Path(__file__).parents[1] / "samples" / "trustcaller"
TOKEN = "6|k3y-wh1ch-n0b0dy-m4y-s33"
REVOKED = answer(200, {"message": "API key revoked."})
NOT_FOUND = answer(404, {"error": "not_found", "message": "API key not found."})
SERVER_ERROR = answer(500, {"message": "Server Error"})


def client_of(script: Transport, **settings: Any) -> TrustCallerClient:
    """Return a client whose parts are real, except for the transport and the clocks."""
    client = object.__new__(TrustCallerClient)
    client._attach_resources(
        TrustCallerRequester(
            script,
            RequestSettings(Secret(TOKEN), **settings),
            RequesterEnvironment(VirtualClock(), Random(7), LoggingObserver()),
        )
    )
    return client


def sample_answer(name: str, status: int = 200) -> Answer:
    """Return a documented sample as an answer."""
    return Answer(status, {"content-type": "application/json"}, (SAMPLES / f"{name}.json").read_bytes())


def numbers_page(ids: range, *, page: int = 1, total: int | None = None, **links: object) -> Answer:
    """Return a page of reserved numbers with these ids."""
    body: dict[str, object] = {"data": [{"id": number, "number": f"1200004{number:08d}"} for number in ids]}
    if links:
        body["links"] = links
    if total is not None:
        body["meta"] = {"current_page": page, "per_page": len(ids) or 1, "total": total}
    return Answer(200, {}, msgspec.json.encode(body))


def throttled(seconds: int | None) -> Answer:
    """Return a 429."""
    headers = {} if seconds is None else {"retry_after": str(seconds)}
    return answer(429, {"message": "Too Many Attempts."}, **headers)
