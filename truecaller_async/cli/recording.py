"""Writing results to a file while they come.

Results are written in lists, because every write ends with a flush: as soon as there are many, and from time to time.
A file that cannot be written any more (a full disk) does not cost the account: the fault is kept, the campaign is
drained by whoever looks at it, and what was already known is counted.
"""

from __future__ import annotations

from truecaller_async.errors import ConfigError
from truecaller_async.models import RecordResult
from truecaller_async.sources import ResultSink

ROOM = 500


class Recorder:
    """Takes results one by one; without a sink it forgets them. `fault` is set when the file cannot be written."""

    def __init__(self, sink: ResultSink | None, name: str | None) -> None:
        self._sink = sink
        self._name = name
        self._held: list[RecordResult] = []
        self.fault: ConfigError | None = None

    def note(self, result: RecordResult) -> None:
        """One result."""
        if self._sink is None or self.fault is not None:
            return
        self._held.append(result)
        if len(self._held) >= ROOM:
            self.flush()

    def flush(self) -> None:
        """Write what is held."""
        if self._sink is None or not self._held:
            return
        held, self._held = self._held, []
        try:
            self._sink.write(held)
        except OSError as error:
            self._broken(error)

    def close(self) -> None:
        """Write the rest and close the file."""
        self.flush()
        try:
            if self._sink is not None:
                self._sink.close()
        except OSError as error:
            self._broken(error)

    def _broken(self, error: OSError) -> None:
        self.fault = self.fault or ConfigError(
            f"results cannot be written to {self._name}: {error.strerror or error}; the campaign was stopped, "
            "and the account says how many records were delivered, but the file does not name them all"
        )
