"""Push one record just before a call is dialled.

Run `truecaller sandbox --limits fast` in another terminal, export what it prints, then: python examples/push_one.py
"""

import asyncio
import os
from datetime import UTC, datetime, timedelta

from truecaller_async import CallRecord, PushRejected, TruecallerClient, TruecallerError


async def dial(client: TruecallerClient, receiver: str) -> None:
    now = datetime.now(UTC)
    record = CallRecord(
        caller="911234567898",
        receiver=receiver,
        starts_at=now,
        ends_at=now + timedelta(hours=4),
        label_id=os.environ.get("TRUECALLER_SANDBOX_LABEL_ID"),
        reason="Calling you for KYC",
    )
    try:
        answer = await client.calls.push(record, deadline=0.5)
    except PushRejected as refused:
        print(f"dial without a reason on the screen: {refused.message}")
    except TruecallerError as error:
        print(f"dial now, the record may be late: {type(error).__name__} (sent: {error.sent})")
    else:
        print(f"dial: {answer.status}")


async def main() -> None:
    async with TruecallerClient.from_env() as client:
        await dial(client, "919234567898")
        await dial(client, "919234567813")


if __name__ == "__main__":
    asyncio.run(main())
