"""One run of a campaign, the first or a later one: who looks on, where results go, what the journal remembers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import attrs

from truecaller_async.cli.campaign.bad_rows import InvalidRowPrinter
from truecaller_async.cli.campaign.display_plain import Display
from truecaller_async.cli.campaign.failure_reasons import FailureReasons
from truecaller_async.cli.campaign.results_writer import ResultsWriter
from truecaller_async.cli.campaign.runner import CampaignRunner, RunEnd
from truecaller_async.engine import CampaignStream

STANDARD_OUTPUT = "-"


def _nowhere(_: int) -> None:
    return None


@attrs.frozen(kw_only=True)
class RunContext:
    """`name` is the input, as messages call it. `journal` is None where it is kept in memory, `results` where there
    are none. `total` is how many rows are expected, `line_of` knows the line of a row."""

    name: str
    results: str | None
    journal: Path | None
    as_json: bool
    recorder: ResultsWriter
    reasons: FailureReasons = attrs.field(factory=FailureReasons)
    total: int | None = None
    line_of: Callable[[int], int | None] = _nowhere
    remembered: Mapping[str, str] = attrs.field(factory=dict)

    @property
    def results_on_stdout(self) -> bool:
        """Whether stdout belongs to the results."""
        return self.results == STANDARD_OUTPUT

    async def done(self, stream: CampaignStream, display: Display) -> RunEnd:
        """Run it to its end, and say how that was. Raises what is no fault of the run."""
        bad_rows = InvalidRowPrinter(self.name, self.line_of, display.note)
        begun = None if self.journal is None else f"Journal: {self.journal}"
        watch = CampaignRunner(
            display, self.recorder, self.reasons, self.total, (bad_rows.record,), self.remembered, begun
        )
        ending = await watch.over(stream)
        bad_rows.finish()
        return ending
