"""Push one record, list the labels and run a campaign without asyncio.

Run `truecaller sandbox --limits fast` in another terminal, export what it prints, then: python examples/blocking.py
"""

import os
import time
from collections.abc import Iterator

from truecaller_async import CallRecord, CampaignOptions, Outcome, PollPolicy
from truecaller_async.blocking import TruecallerClient


def record(number: int) -> CallRecord:
    now = int(time.time() * 1000)
    return CallRecord(
        caller="911234567898",
        receiver=f"9198{number:08d}",
        starts_at=now,
        ends_at=now + 4 * 3_600_000,
        label_id=os.environ.get("TRUECALLER_SANDBOX_LABEL_ID"),
        reason="Calling you for KYC",
        key=f"customer-{number}",
    )


def from_the_database() -> Iterator[CallRecord]:
    """Yield records. A database cursor or a query set works the same way: it is read in its own thread, on demand."""
    for number in range(500):
        yield record(number)


def main() -> None:
    with TruecallerClient.from_env() as client:
        print("push:", client.calls.push(record(0)).status)
        print("labels:", *(label.name for label in client.labels.list()), sep="\n  ")
        with client.push_many(from_the_database(), options=CampaignOptions(poll=PollPolicy(first=1.0))) as results:
            for result in results:
                if result.outcome is Outcome.FAILED:
                    print(f"{result.key}: {result.reason}")
        print(results.summary)


if __name__ == "__main__":
    main()
