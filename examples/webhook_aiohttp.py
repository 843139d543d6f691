"""Receive call-me-back events in aiohttp and push a record before each call back.

Run `truecaller sandbox` in another terminal, export what it prints and a TRUECALLER_WEBHOOK_KEY of your own, then:
python examples/webhook_aiohttp.py 8090. The URL for the console ends in /truecaller?key=...

Events are not signed: anyone with the URL can forge one. So a request counts only if the number is a known customer.
"""

import os
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

from aiohttp import web

from truecaller_async import CallRecord, PushRejected, TruecallerClient
from truecaller_async.webhooks import CallMeBack, Event, WebhookReceiver

CUSTOMERS = {"911234567890": "an order of flowers", "911234567898": "a delivery"}


class CallBacks:
    """Handle events with a client that is open as long as the application."""

    def __init__(self) -> None:
        self.client = TruecallerClient.from_env()

    async def on_event(self, event: Event) -> None:
        """Push a record for the caller. Runs after the answer; an error leads to another attempt later."""
        if not isinstance(event, CallMeBack) or not event.is_interested or event.business_number is None:
            return
        number = event.client_number or event.alternate_number
        if number not in CUSTOMERS:
            print("a request from an unknown number is dropped", flush=True)
            return
        now = datetime.now(UTC)
        record = CallRecord(
            caller=event.business_number,
            receiver=number,
            starts_at=now,
            ends_at=now + timedelta(minutes=10),
            label_id=os.environ.get("TRUECALLER_SANDBOX_LABEL_ID"),
            reason=f"You asked us to call: {CUSTOMERS[number]}",
        )
        try:
            answer = await self.client.calls.push(record)
        except PushRejected as refused:
            print(f"dial without a reason on the screen: {refused.message}", flush=True)
        else:
            print(f"dial: {answer.status}", flush=True)

    async def live(self, _: web.Application) -> AsyncIterator[None]:
        async with self.client:
            yield


def application() -> web.Application:
    call_backs = CallBacks()
    app = web.Application()
    app.cleanup_ctx.append(call_backs.live)
    receiver = WebhookReceiver(call_backs.on_event, keys=os.environ["TRUECALLER_WEBHOOK_KEY"].split(","))
    receiver.add_to(app, "/truecaller")
    return app


if __name__ == "__main__":
    web.run_app(application(), host="127.0.0.1", port=int(sys.argv[1]))
