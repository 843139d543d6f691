"""Truecaller's webhooks: "call me back" and "user feedback", received once, kept, and handled.

**Events are not signed: anyone with the URL can forge one. Fetch the truth by the API before acting.**

    parse_event       a body becomes an event; no I/O
    WebhookReceiver   an ASGI application, and routes for aiohttp, around a durable queue
    WebhookServer     a server around the receiver, as `truecaller webhooks serve` runs it

How the room is laid out, each file using only those before it:

    events    what comes                keys      the key in the URL, and how it stays out of logs
    gate      what is refused           options   figures and counts
    ledger    the book of events        files     where it lies
    store     the book on disk          worker    handling, again and again
    asgi      for ASGI servers          routes    for aiohttp
    receiver  all of it                 server    alone on a port
    forwarding   what that server does with events

`events`, `keys`, `gate` and `options` do no I/O and read no clock.
"""

from truecaller_async.webhooks.events import (
    CallMeBack,
    Event,
    FeedbackResponse,
    UnknownEvent,
    UserFeedback,
    parse_event,
)
from truecaller_async.webhooks.keys import HideKeys, Keyring
from truecaller_async.webhooks.options import ParkedEvent, WebhookOptions, WebhookStats
from truecaller_async.webhooks.receiver import WebhookReceiver

__all__ = [
    "CallMeBack",
    "Event",
    "FeedbackResponse",
    "HideKeys",
    "Keyring",
    "ParkedEvent",
    "UnknownEvent",
    "UserFeedback",
    "WebhookOptions",
    "WebhookReceiver",
    "WebhookStats",
    "parse_event",
]
