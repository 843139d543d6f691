"""Command `truecaller demo`: run a campaign against a sandbox in this process."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator

import click

from truecaller_async.cli.exit_codes import exit_for_campaign
from truecaller_async.cli.formatting import counted
from truecaller_async.clock import Clock
from truecaller_async.models import CallRecord

DELIVERED_ENDINGS = tuple(ending for ending in range(100) if ending not in (13, 26, 39, 52))
"""Last two digits of receivers that the sandbox reports as delivered."""

CALLER = "911140001234"
WINDOW_MS = 4 * 3600 * 1000
RESOLVE_SECONDS = 1.0


@click.command()
@click.option(
    "--records", type=click.IntRange(1, 1_000_000), default=5000, show_default=True, help="Number of records."
)
@click.option("--json", "as_json", is_flag=True, help="Print progress and summary as JSON lines.")
def demo(records: int, as_json: bool) -> None:
    """Run a campaign against a built-in sandbox.

    No account is needed, and nothing is sent to Truecaller.
    """
    click.get_current_context().exit(asyncio.run(_demo(records, as_json)))


async def _demo(records: int, as_json: bool) -> int:
    # Imported here, because --help needs none of them.
    from truecaller_async.cli.campaign.display_plain import summary_event
    from truecaller_async.cli.campaign.failure_reasons import FailureReasons
    from truecaller_async.cli.campaign.results_writer import ResultsWriter
    from truecaller_async.cli.campaign.runner import CampaignRunner, display_for
    from truecaller_async.cli.campaign.summary import print_summary
    from truecaller_async.client import TruecallerClient
    from truecaller_async.sandbox import SPEEDS, Sandbox, SandboxSettings

    reasons = FailureReasons()
    async with await Sandbox.start(SandboxSettings(limits=SPEEDS["fast"], resolve_after=RESOLVE_SECONDS)) as sandbox:
        async with TruecallerClient.from_env(sandbox.environment(), state="memory:") as client:
            with display_for(as_json=as_json) as display:
                display.note(f"Sending {counted(records, 'generated record')} to a sandbox on {sandbox.base_url}.")
                runner = CampaignRunner(display, ResultsWriter(None, None), reasons, records)
                label_id = sandbox.settings.labels[0].id
                end = await runner.run(client.push_many(generated(records, label_id, Clock().wall())))
        refused = sandbox.stats().refused
    if end.error is not None:
        raise end.error
    if as_json:
        click.echo(json.dumps(summary_event(end.summary, refused_by_sandbox=refused)))
    else:
        throttled = f"{counted(refused, 'request')} over a limit, counted by the sandbox"
        print_summary(end.summary, reasons, sys.stdout, throttled=throttled)
    return exit_for_campaign(end.summary, end.error, end.signal)


def generated(count: int, label_id: str, now: float) -> Iterator[CallRecord]:
    """Yield distinct records that the sandbox delivers, valid from `now` on (wall-clock seconds)."""
    starts_at = int(now * 1000)
    for index in range(count):
        hundreds, ending = divmod(index, len(DELIVERED_ENDINGS))
        receiver = f"9198{hundreds:06d}{DELIVERED_ENDINGS[ending]:02d}"
        yield CallRecord(
            CALLER,
            receiver,
            starts_at,
            starts_at + WINDOW_MS,
            label_id=label_id,
            reason="A generated call of a demonstration",
            key=str(index + 1),
        )
