"""A faithful server of the Truecaller for Business API, to try a client against.

It is a product of its own: real HTTP on a socket, so a client in any language can be pointed at it. It serves every
call of the API in every version, and describes them in `openapi.yaml`. It keeps state (tokens with a life and a budget,
limits per token, batches and listings that take their time) and writes down what really took effect, so that a
client's account of a campaign can be checked against the truth.

    async with await Sandbox.start(SandboxSettings(limits=SPEEDS["fast"])) as sandbox:
        os.environ.update(sandbox.environment())
        ...
        sandbox.state.stats().violations     # requests over a limit, by limit
        sandbox.state.truth()                # every record that took effect

How the room is laid out, each file using only those before it:

    account      what the console made           oddities     other forms of answers, by name
    answers      what is said, in general        endings      what a client gets instead, by name
    faults       what goes wrong, as a plan      settings     what it is told
    counting     the limits, an exact sliding log
    records      what is sent, and what is refused in it
    applied      what took effect, and verdicts  truth        the log of it
    odd_rows     its rows that are odd           status_rows  the status of a batch
    record_answers   what is said to a record or a batch
    routing      which call a request is         pages        pages of a list
    login        tokens                          numbers      the book of the account's numbers
    management   numbers and feature sets        exports      links and files
    state        one account, pure               wire         bytes on the socket
    app          the server

and of the neighbour, TrustCaller, which has its own path and its own token:

    trustcaller_settings   what its account has  trustcaller  the account, pure

and of the webhooks, which it fires on demand:

    webhook_events   their bodies                firing       what is sent when, and the log
    firing_desk      the path to order them by

`state` and everything before it do no I/O and read no clock. The room shares no code with the client's own limiter or
decoder: a mistake that both make would be seen by nobody.
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
