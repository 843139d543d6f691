"""Path /_sandbox/webhooks: order webhook events and read the delivery log over HTTP.

    POST    {"url", "kind", "count", "duplicates", "shuffle", "senders"}; "url" is optional if the sandbox has a
            default URL, all others are optional
    GET     the delivery log; ?after=N&limit=M
    DELETE  delete the webhooks: pending deliveries end with "webhook deleted"

A POST must have the type application/json, so that a web page in a browser cannot send one to another origin. Answers
contain no path and no query of a URL, because these can contain the key.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from urllib.parse import parse_qsl

import msgspec

from truecaller_async.errors import ConfigError
from truecaller_async.models import Secret
from truecaller_async.sandbox.answers import JSON, SandboxResponse, answer, error, invalid, not_allowed
from truecaller_async.sandbox.webhooks.events import EventKind, WebhookEvent
from truecaller_async.sandbox.webhooks.sender import WebhookOrder, WebhookSender

PATH = "/_sandbox/webhooks"
PAGE_SIZE = 1000
"""Default page size of the delivery log."""
PAGE_MAX = 100_000
ALL_KINDS = "all"
METHODS = "GET, POST, DELETE"

_NUMBER = re.compile(r"[0-9]{1,15}", re.ASCII)


class _Order(msgspec.Struct, forbid_unknown_fields=True):
    url: str | None = None
    kind: str = ALL_KINDS
    count: int = 1
    duplicates: float = 0.0
    shuffle: bool = False
    senders: int = 1

    def __repr__(self) -> str:
        return f"_Order({self.kind!r}, {self.count})"


class WebhookApi:
    """Handler of /_sandbox/webhooks.

    Args:
        default_url: URL for orders that name none.
        send: sends the events of an order and returns them.
        sender: has the delivery log.
    """

    def __init__(
        self, default_url: Secret | None, send: Callable[[WebhookOrder], list[WebhookEvent]], sender: WebhookSender
    ) -> None:
        self._default_url = default_url
        self._send = send
        self._sender = sender

    def handle(self, method: str, query: str, headers: Mapping[str, str], body: bytes, pending: int) -> SandboxResponse:
        """Answer one request. Raises nothing.

        Args:
            method: HTTP method.
            query: query string.
            headers: headers with lower-case names.
            body: body in bytes.
            pending: number of deliveries that have not ended.
        """
        if method == "GET":
            return self._log_page(query, pending)
        if method == "POST":
            return self._accept_order(headers, body)
        if method == "DELETE":
            self._sender.clear()
            return answer({"deleted": True})
        return not_allowed(METHODS)

    def _accept_order(self, headers: Mapping[str, str], body: bytes) -> SandboxResponse:
        if headers.get("content-type", "").partition(";")[0].strip().lower() != JSON:
            return error(415, "unsupported-media-type", f"an order must have the content type {JSON}")
        try:
            events = self._send(self._parse_order(body))
        except ConfigError as problem:
            return invalid(str(problem))
        return answer({"queued": len(events), "event_ids": [event.event_id for event in events]}, 202)

    def _parse_order(self, body: bytes) -> WebhookOrder:
        try:
            order = msgspec.json.decode(body or b"{}", type=_Order)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise ConfigError(
                'the order is not valid: it must have the form {"url": text, "kind": text, "count": number, '
                '"duplicates": number, "shuffle": true or false, "senders": number}'
            ) from None
        url = self._default_url if order.url is None else Secret(order.url)
        if url is None:
            raise ConfigError('the order has no "url": add one, or start the sandbox with --webhook')
        return WebhookOrder(
            url=url,
            kinds=tuple(EventKind) if order.kind == ALL_KINDS else (order.kind,),
            count=order.count,
            duplicates=order.duplicates,
            shuffle=order.shuffle,
            senders=order.senders,
        )

    def _log_page(self, query: str, pending: int) -> SandboxResponse:
        parameters = dict(parse_qsl(query))
        after, limit = parameters.get("after", "0"), parameters.get("limit", str(PAGE_SIZE))
        if not (_NUMBER.fullmatch(after) and _NUMBER.fullmatch(limit)):
            return invalid("after and limit must be whole numbers")
        attempts = self._sender.attempts(int(after), min(int(limit), PAGE_MAX))
        states = {state.value: count for state, count in self._sender.states.items()}
        return answer({"states": states, "pending": pending, "attempts": attempts})
