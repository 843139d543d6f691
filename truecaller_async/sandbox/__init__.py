"""HTTP server that behaves like the Truecaller for Business API, for tests of API clients.

The sandbox is independent of the client library: it listens on a socket, serves every call of the API in every
version, and describes them in `openapi.yaml`. It keeps state (tokens, rate limits, batches, number listings) and a
log of all records that took effect, so that a client's result counts can be compared with that log.

    async with await Sandbox.start(SandboxSettings(limits=SPEEDS["fast"])) as sandbox:
        os.environ.update(sandbox.environment())
        ...
        sandbox.state.stats().violations     # requests over a limit, by limit
        sandbox.state.truth()                # all records that took effect

Packages:
    faults        fault plans, fault responses, response variants, raw HTTP output
    batches       record rules, applied POSTs, answers to them, batch status
    endpoints     tokens, numbers and feature sets, exports, pagination
    webhooks      event bodies, delivery with retries, the path that orders events
    trustcaller   the TrustCaller API, which has its own path and token
Modules:
    account, answers, routing, settings, sliding_log, truth, state (one account), app (the server)
Invariants:
    - Only `app` and `faults.raw_http` do I/O or read a clock.
    - No code is shared with the client's limiter or decoder, so an error cannot exist in both and stay unnoticed.
"""

from truecaller_async.sandbox.account import SandboxFeatureSet, SandboxLabel
from truecaller_async.sandbox.answers import DeliveryMode, SandboxResponse
from truecaller_async.sandbox.app import Sandbox, SandboxWebhooks
from truecaller_async.sandbox.faults.plan import Fault, FaultPlan
from truecaller_async.sandbox.faults.response_variants import ResponseVariant
from truecaller_async.sandbox.settings import SPEEDS, SandboxSettings
from truecaller_async.sandbox.state import SandboxState, Stats
from truecaller_async.sandbox.trustcaller.api import TrustCallerState
from truecaller_async.sandbox.trustcaller.settings import SandboxCall, SandboxNumber, TrustCallerSettings
from truecaller_async.sandbox.truth import TruthEntry
from truecaller_async.sandbox.webhooks.events import EventKind, WebhookEvent
from truecaller_async.sandbox.webhooks.sender import DeliveryAttempt, DeliveryState, WebhookOrder, WebhookSenderSettings

__all__ = [
    "SPEEDS",
    "DeliveryAttempt",
    "DeliveryMode",
    "DeliveryState",
    "EventKind",
    "Fault",
    "FaultPlan",
    "ResponseVariant",
    "Sandbox",
    "SandboxCall",
    "SandboxFeatureSet",
    "SandboxLabel",
    "SandboxNumber",
    "SandboxResponse",
    "SandboxSettings",
    "SandboxState",
    "SandboxWebhooks",
    "Stats",
    "TrustCallerSettings",
    "TrustCallerState",
    "TruthEntry",
    "WebhookEvent",
    "WebhookOrder",
    "WebhookSenderSettings",
]
