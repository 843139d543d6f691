"""Receive call-me-back events in FastAPI, keep each request, and push a record just before the call back.

Run `truecaller sandbox` in another terminal, export what it prints and a TRUECALLER_WEBHOOK_KEY of your own, then:
uvicorn webhook_fastapi:app --app-dir examples. The URL for the console ends in /truecaller/?key=... (mind the slash).

Events are not signed: anyone with the URL can forge one. So a request counts only if the number is a known customer.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

from fastapi import FastAPI, HTTPException

from truecaller_async import CallRecord, PushRejected, TruecallerClient
from truecaller_async.webhooks import CallMeBack, Event, WebhookReceiver

CUSTOMERS = {"911234567890": "an order of flowers", "911234567898": "a delivery"}
open_requests: dict[str, CallMeBack] = {}


async def on_event(event: Event) -> None:
    """Store or remove a call-back request. Runs after the answer, in the order of the events."""
    if not isinstance(event, CallMeBack):
        return
    number = event.client_number or event.alternate_number
    if number not in CUSTOMERS:
        print("a request from an unknown number is dropped")
    elif event.is_interested:
        open_requests[number] = event
    else:
        open_requests.pop(number, None)


receiver = WebhookReceiver(on_event, keys=os.environ["TRUECALLER_WEBHOOK_KEY"].split(","))


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with TruecallerClient.from_env() as client, receiver:
        app.state.client = client
        yield


app = FastAPI(lifespan=lifespan)
app.mount("/truecaller", receiver)


@app.get("/requests")
async def waiting() -> int:
    """Return the number of open call-back requests."""
    return len(open_requests)


@app.post("/calls/{number}")
async def call(number: str) -> dict[str, str]:
    """Push name and reason for this number; the caller's device dials next."""
    request = open_requests.get(number)
    if request is None or request.business_number is None:
        raise HTTPException(404, "no open call-back request for this number")
    now = datetime.now(UTC)
    record = CallRecord(
        caller=request.business_number,
        receiver=number,
        starts_at=now,
        ends_at=now + timedelta(minutes=10),
        label_id=os.environ.get("TRUECALLER_SANDBOX_LABEL_ID"),
        reason=f"You asked us to call: {CUSTOMERS[number]}",
    )
    try:
        answer = await app.state.client.calls.push(record, deadline=2)
    except PushRejected as refused:
        return {"dial": "without a reason on the screen", "because": refused.message or "no reason given"}
    del open_requests[number]
    return {"dial": "now", "status": answer.status}
