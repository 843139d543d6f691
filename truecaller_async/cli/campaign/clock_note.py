"""One sentence for whoever runs a campaign on a machine whose clock is wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import click

from truecaller_async.cli.formatting import duration
from truecaller_async.telemetry import LoggingObserver


class ClockWarning(LoggingObserver):
    """Logs as ever, and has `tell` say it when the server's clock is found to be another than ours: once a client."""

    def __init__(self) -> None:
        self.tell: Callable[[str], None] = _to_stderr

    def event(self, name: str, fields: Mapping[str, object]) -> None:
        """A stage was reached."""
        super().event(name, fields)
        ahead = fields.get("server_ahead_seconds")
        if name == "clock.offset_detected" and isinstance(ahead, int | float):
            word = "behind" if ahead > 0 else "ahead of"
            self.tell(
                f"Note: the clock of this machine is {duration(abs(ahead))} {word} the server's; "
                "windows are judged by the server's. Set the clock."
            )


def _to_stderr(text: str) -> None:
    click.echo(text, err=True)
