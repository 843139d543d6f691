"""Run a campaign from a generator: bounded memory, one result for each record read.

Run `truecaller sandbox --limits fast` in another terminal, export what it prints, then: python examples/campaign.py
"""

import asyncio
import os
import time
from collections.abc import Iterator

from truecaller_async import CallRecord, CampaignOptions, Outcome, PollPolicy, TruecallerClient


def records(count: int) -> Iterator[CallRecord]:
    now = int(time.time() * 1000)
    for number in range(count):
        yield CallRecord(
            caller="911234567898",
            receiver=f"9198{number:08d}",
            starts_at=now,
            ends_at=now + 4 * 3_600_000,
            label_id=os.environ.get("TRUECALLER_SANDBOX_LABEL_ID"),
            reason="Calling you for KYC",
            key=f"customer-{number}",
        )


async def main() -> None:
    options = CampaignOptions(on_ambiguous="hold", poll=PollPolicy(first=1.0))
    async with TruecallerClient.from_env() as client, client.push_many(records(2_000), options=options) as results:
        async for result in results:
            if result.outcome is Outcome.FAILED:
                print(f"{result.key}: {result.reason}")
    print(results.summary)


if __name__ == "__main__":
    asyncio.run(main())
