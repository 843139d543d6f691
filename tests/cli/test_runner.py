"""Campaign runs in this process, and the choice of the display."""

from __future__ import annotations

from errno import ENOSPC
from io import StringIO

import pytest

from truecaller_async import Limits, TruecallerClient
from truecaller_async.cli.campaign.display_plain import PlainDisplay
from truecaller_async.cli.campaign.failure_reasons import FailureReasons
from truecaller_async.cli.campaign.results_writer import ResultsWriter
from truecaller_async.cli.campaign.runner import CampaignRunner, display_for
from truecaller_async.cli.commands.demo import generated
from truecaller_async.clock import Clock
from truecaller_async.models import Outcome, RecordResult
from truecaller_async.sandbox import Sandbox, SandboxSettings
from truecaller_async.sinks import open_sink

ROWS = 20_000


class FullDisk(StringIO):
    """File that accepts only its first line."""

    def write(self, text: str) -> int:
        if self.tell():
            raise OSError(ENOSPC, "No space left on device")
        return super().write(text)


async def test_unwritable_results_drain_the_campaign_and_summary_is_complete() -> None:
    limits = Limits.documented().replace(batch=(4, 2.0))
    seen: list[RecordResult] = []
    async with (
        await Sandbox.start(SandboxSettings(limits=limits, resolve_after=0.0)) as sandbox,
        TruecallerClient.from_env(sandbox.environment(), max_tokens=1) as client,
    ):
        writer = ResultsWriter(open_sink(FullDisk()), "out.csv")
        runner = CampaignRunner(PlainDisplay(), writer, FailureReasons(), ROWS, (seen.append,))
        records = generated(ROWS, sandbox.settings.labels[0].id, Clock().wall())
        end = await runner.run(client.push_many(records))
    assert str(end.error).startswith("results cannot be written to out.csv: No space left on device")
    assert end.summary.adds_up
    assert len(seen) == end.summary.read
    assert 0 < end.summary.delivered < ROWS
    assert end.summary.unknown == 0


def test_writer_without_file_drops_results_and_failed_writer_accepts_none() -> None:
    result = RecordResult(None, 1, None, Outcome.DELIVERED)
    nothing = ResultsWriter(None, None)
    nothing.record(result)
    nothing.close()
    assert nothing.error is None
    broken = ResultsWriter(open_sink(FullDisk()), "out.csv")
    broken.record(result)
    broken.flush()
    assert broken.error is not None
    broken.record(result)
    broken.close()


def test_plain_display_is_used_without_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr("sys.stderr", StringIO())
    assert type(display_for(as_json=False)) is PlainDisplay
    monkeypatch.setattr("sys.stderr", Terminal())
    monkeypatch.setenv("TERM", "dumb")
    assert type(display_for(as_json=False)) is PlainDisplay
    monkeypatch.setenv("TERM", "xterm")
    assert type(display_for(as_json=False)) is not PlainDisplay
    monkeypatch.setattr("sys.stdout", Terminal())
    assert type(display_for(as_json=False, stdout_is_taken=True)) is PlainDisplay
