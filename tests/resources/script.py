"""A client with a scripted transport, on a virtual loop."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Collection, Iterable
from random import Random
from typing import Any, TypeAlias

import attrs
import msgspec

from tests.virtual import BASE, VirtualClock
from truecaller_async import CallRecord, Limits, RetryPolicy, Timeouts, TruecallerClient
from truecaller_async.models import Answer, Request, Secret
from truecaller_async.options import Credentials
from truecaller_async.ports import Observer, Write
from truecaller_async.protocol.links import check_link
from truecaller_async.resources import ClientSettings
from truecaller_async.telemetry import LoggingObserver
from truecaller_async.tokens import MemoryTokenStore
from truecaller_async.tokens.pool import PoolSettings
from truecaller_async.wiring import Environment, build_resources

BASE_URL = "https://api.example"
ACCOUNT = "00000000-0000-4000-8000-000000000001"
CREDENTIALS = Credentials(ACCOUNT, "the-key-id", Secret("the-api-key"))
HOUR_MS = 3_600_000

Step: TypeAlias = "Answer | Exception"


def answer(status: int, body: object = None, **headers: str) -> Answer:
    """Make an answer with this body as JSON. Header names have underscores for hyphens."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, named, b"" if body is None else msgspec.json.encode(body))


FILE = Answer(200, {}, b"caller,answer\n")
PUSHED = answer(200, {"status_info": {"status": "success", "message": "taken"}})
TAKEN = answer(200, {"batch_id": "b-1"})
REFUSED_TOKEN = answer(401, {"slug": "authorization-error", "message": "please login again"})


def throttled(seconds: int | None = None) -> Answer:
    headers = {} if seconds is None else {"retry_after": str(seconds)}
    return answer(429, {"slug": "too-many-requests", "message": "slow down"}, **headers)


def status_of(*statuses: str) -> Answer:
    """Make the status of batch b-1, with one record for each of these statuses."""
    rows = [
        {"id": str(index), "caller_number": "910000000001", "receiver_number": f"9199{index:08d}", "status": status}
        for index, status in enumerate(statuses)
    ]
    return answer(200, {"batch_id": "b-1", "data": rows})


@attrs.define
class Script:
    """A `Transport`: each request takes `latency` seconds and gets the next step.

    The last step is repeated.

    Every link leads to `file`. If there is a `download_error`, it is raised after the whole file was written.
    """

    steps: deque[Step]
    latency: float = 0.1
    mints: deque[Step] = attrs.field(factory=deque)
    sent: list[tuple[float, Request]] = attrs.field(factory=list)
    minted: list[float] = attrs.field(factory=list)
    closed: bool = False
    file: Answer = FILE
    download_error: Exception | None = None
    downloads: list[tuple[str, int]] = attrs.field(factory=list)

    async def send(self, request: Request, timeouts: Timeouts) -> Answer:
        now = asyncio.get_running_loop().time()
        if request.call == "mint":
            self.minted.append(now)
            fresh = answer(200, {"token": f"token-{len(self.minted)}"})
            step: Step = self.mints.popleft() if self.mints else fresh
        else:
            self.sent.append((now, request))
            step = self.steps.popleft() if len(self.steps) > 1 else self.steps[0]
        await asyncio.sleep(self.latency)
        if isinstance(step, Exception):
            raise step
        return step

    async def download(
        self, link: Secret, write: Write, timeouts: Timeouts, *, hosts: Collection[str], max_bytes: int
    ) -> Answer:
        check_link(link, BASE_URL, hosts)
        self.downloads.append((link.reveal(), max_bytes))
        await asyncio.sleep(self.latency)
        if self.file.status == 200:
            await write(self.file.body)
        if self.download_error is not None:
            raise self.download_error
        return attrs.evolve(self.file, body=b"")

    async def aclose(self) -> None:
        self.closed = True

    @property
    def times(self) -> list[float]:
        return [time for time, _ in self.sent]

    @property
    def tokens(self) -> list[str]:
        return [request.token.reveal() for _, request in self.sent if request.token is not None]


def playing(*steps: Step, latency: float = 0.1, mints: Iterable[Step] = ()) -> Script:
    """Make a transport with these steps. The first mint requests get `mints`, later ones a new token."""
    return Script(deque(steps), latency, deque(mints))


def client_of(
    script: Script,
    *,
    retry: RetryPolicy | None = None,
    limits: Limits | None = None,
    max_tokens: int = 10,
    observer: Observer | None = None,
    api_version: str = "v2",
) -> TruecallerClient:
    """Make a client with a scripted transport and virtual clocks; all other parts are real."""
    settings = ClientSettings(CREDENTIALS, api_version, retry or RetryPolicy(), Timeouts())
    pool = PoolSettings(limits or Limits.documented(), max_tokens)
    environment = Environment(VirtualClock(), Random(7), observer or LoggingObserver())
    return TruecallerClient._from_parts(
        settings, build_resources(settings, script, MemoryTokenStore(), pool, environment)
    )


def record(number: int = 0, **other: Any) -> CallRecord:
    """Make a record that is valid at the start of the virtual clock."""
    start = int(BASE * 1000)
    given: dict[str, Any] = {
        "caller": "+910000000001",
        "receiver": f"9199{number:08d}",
        "starts_at": start,
        "ends_at": start + 4 * HOUR_MS,
        "label_id": "c6d8a1b2-1111-4222-8333-abcdefabcdef",
        "label_name": "Centro Bank",
        "reason": "Calling you for KYC",
        "key": "our-own-id",
    }
    return CallRecord(**{**given, **other})
