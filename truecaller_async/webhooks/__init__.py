"""Receiver for Truecaller's webhooks "call me back" and "user feedback", with a durable queue.

**Events are not signed: anyone with the URL can forge one. Check the facts with the API before acting.**

    parse_event       converts a body to an event; no I/O
    WebhookReceiver   ASGI application, and routes for aiohttp, around a durable queue
    WebhookServer     HTTP server around the receiver, as `truecaller webhooks serve` runs it

Modules, each using only those before it:
    events           event classes and parsing      keys           key in the URL; removal of keys from logs
    request_checks   rejected requests, answers     options        options, counters
    event_queries    SQL of the event table         store_path     location of the database
    event_store      database and ownership lock    worker         handler calls and retries
    asgi             ASGI interface                 routes         aiohttp routes
    receiver         the public class               server         HTTP server
    forwarding       handlers of that server

`events`, `keys`, `request_checks` and `options` do no I/O and read no clock.
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
