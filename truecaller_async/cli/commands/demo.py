"""`truecaller demo`: one whole campaign against a sandbox in this very process. No account, no network, no file."""

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
"""The last two digits of a receiver choose the sandbox's verdict; these are delivered."""

CALLER = "911140001234"
WINDOW_MS = 4 * 3600 * 1000
RESOLVE_AFTER = 1.0


@click.command()
@click.option("--records", type=click.IntRange(1, 1_000_000), default=5000, show_default=True, help="How many.")
@click.option("--json", "as_json", is_flag=True, help="Progress and account as lines of JSON.")
def demo(records: int, as_json: bool) -> None:
    """Run a whole campaign against a built-in sandbox.

    No account is needed, and nothing reaches a phone.
    """
    click.get_current_context().exit(asyncio.run(_demo(records, as_json)))


async def _demo(records: int, as_json: bool) -> int:
    from truecaller_async.cli.campaign.account import closing, print_account
    from truecaller_async.cli.campaign.display_plain import summary_event
    from truecaller_async.cli.campaign.failure_reasons import FailureReasons
    from truecaller_async.cli.campaign.results_writer import ResultsWriter
    from truecaller_async.cli.campaign.runner import CampaignRunner, display_for
    from truecaller_async.client import TruecallerClient
    from truecaller_async.sandbox import SPEEDS, Sandbox, SandboxSettings

    reasons = FailureReasons()
    async with await Sandbox.start(SandboxSettings(limits=SPEEDS["fast"], resolve_after=RESOLVE_AFTER)) as sandbox:
        async with TruecallerClient.from_env(sandbox.environment(), state="memory:") as client:
            with display_for(as_json=as_json) as display:
                display.note(
                    f"A sandbox listens on {sandbox.base_url}; {counted(records, 'invented record')} go to it."
                )
                watch = CampaignRunner(display, ResultsWriter(None, None), reasons, records)
                label_id = sandbox.settings.labels[0].id
                ending = await watch.over(client.push_many(generated(records, label_id, Clock().wall())))
        refused = sandbox.stats().refused
    if ending.fault is not None:
        raise ending.fault
    if as_json:
        click.echo(json.dumps(summary_event(ending.summary, refusals=refused)))
    else:
        said = f"{counted(refused, 'request')} over a limit, by the sandbox's own count"
        print_account(ending.summary, reasons, sys.stdout, refusals=said)
        click.echo(f"\n{closing(ending.summary)}")
    return exit_for_campaign(ending.summary, ending.fault, ending.signal)


def generated(count: int, label_id: str, now: float) -> Iterator[CallRecord]:
    """So many different records, valid from now on, all of which the sandbox delivers."""
    starts_at = int(now * 1000)
    for place in range(count):
        hundreds, ending = divmod(place, len(DELIVERED_ENDINGS))
        receiver = f"9198{hundreds:06d}{DELIVERED_ENDINGS[ending]:02d}"
        yield CallRecord(
            CALLER,
            receiver,
            starts_at,
            starts_at + WINDOW_MS,
            label_id=label_id,
            reason="A call that was invented for a demonstration",
            key=str(place + 1),
        )
