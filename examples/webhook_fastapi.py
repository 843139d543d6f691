"""Call-me-back events in FastAPI: keep each wish, and push a record at the moment somebody is called back.

Run `truecaller sandbox` in another terminal, export what it prints and a TRUECALLER_WEBHOOK_KEY of your own, then:
uvicorn webhook_fastapi:app --app-dir examples. The URL for the console ends in /truecaller/?key=... (mind the slash).

Events are not signed: anyone with the URL can forge one. So a wish counts only if the number is in our own books.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

from fastapi import FastAPI, HTTPException

from truecaller_async import CallRecord, PushRejected, TruecallerClient
from truecaller_async.webhooks import CallMeBack, Event, WebhookReceiver

CUSTOMERS = {"911234567890": "an order of flowers", "911234567898": "a delivery"}
wishes: dict[str, CallMeBack] = {}


async def on_event(event: Event) -> None:
    """Called after the answer, once for each event, in the order in which people asked."""
    if not isinstance(event, CallMeBack):
        return
    number = event.client_number or event.alternate_number
    if number not in CUSTOMERS:
        print("a wish of somebody who is not in our books is dropped")
    elif event.is_interested:
        wishes[number] = event
    else:
        wishes.pop(number, None)


receiver = WebhookReceiver(on_event, keys=os.environ["TRUECALLER_WEBHOOK_KEY"].split(","))


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with TruecallerClient.from_env() as client, receiver:
        app.state.client = client
        yield


app = FastAPI(lifespan=lifespan)
app.mount("/truecaller", receiver)


@app.get("/wishes")
async def waiting() -> int:
    """How many people wait for a call."""
    return len(wishes)


@app.post("/calls/{number}")
async def call(number: str) -> dict[str, str]:
    """Put our name and reason on the screen of this person; the caller's device dials next."""
    wish = wishes.get(number)
    if wish is None or wish.business_number is None:
        raise HTTPException(404, "nobody with this number waits for a call")
    now = datetime.now(UTC)
    record = CallRecord(
        caller=wish.business_number,
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
    del wishes[number]
    return {"dial": "now", "status": answer.status}
