"""Run a campaign with a journal on disk, so that a killed process can be started again.

Run `truecaller sandbox --limits fast` in another terminal, export what it prints, then:
python examples/durable_campaign.py calls.csv (columns caller, receiver, starts_at, ends_at, reason). Stop it with
Ctrl-C or kill -9, and start it again: it resumes from the journal. A finished campaign sends nothing.
"""

import asyncio
import sys
from pathlib import Path

from truecaller_async import CampaignStream, Outcome, TruecallerClient, read_csv


def campaign(client: TruecallerClient, calls: Path, journal: Path) -> CampaignStream:
    if journal.exists():
        return client.resume(journal)
    return client.push_many(read_csv(calls), journal=journal)


async def main(calls: Path) -> None:
    async with TruecallerClient.from_env() as client:
        async with campaign(client, calls, calls.with_suffix(".journal")) as results:
            async for result in results:
                if result.final and result.outcome is not Outcome.DELIVERED:
                    print(f"row {result.row}: {result.outcome}, {result.reason}")
        summary = results.summary
    print(f"run {summary.runs}: {summary.delivered} of {summary.read} delivered, {summary.unknown} unknown")
    if summary.possibly_duplicated:
        print(
            f"{summary.possibly_duplicated} records were sent again after a lost answer and may have been applied twice"
        )


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
