"""An observer that cannot hurt.

Observers are other people's code, and they are told of things in places where an exception would look like a failed
request or end a campaign. So whatever an observer raises is logged, once for each kind of error, and forgotten.

And what they are told ends in logs and dashboards. Some of it is the server's own text: a status word, an id, the words
of an error. It is told as an error would quote it: on one line, without the query of a link, and with long numbers
masked. The ids of tokens are made here, are hashes, and stay whole.
"""

from __future__ import annotations

from collections.abc import Mapping

from truecaller_async.ports import Observer
from truecaller_async.redaction import redact
from truecaller_async.telemetry.logging_observer import logger

OURS = "token_id"


class SafeObserver:
    """Passes everything on to `observer`, and lets no exception of it come back."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._seen: set[type[Exception]] = set()

    def request(self, call: str, token_id: str | None, status: int | None, seconds: float, error: str | None) -> None:
        """One HTTP attempt ended."""
        try:
            self._observer.request(call, token_id, status, seconds, error)
        except Exception as raised:  # noqa: BLE001 - whatever it is, it changes nothing
            self._note(raised)

    def event(self, name: str, fields: Mapping[str, object]) -> None:
        """A stage was reached."""
        try:
            self._observer.event(name, {field: _told(field, value) for field, value in fields.items()})
        except Exception as raised:  # noqa: BLE001 - whatever it is, it changes nothing
            self._note(raised)

    def _note(self, raised: Exception) -> None:
        kind = type(raised)
        if kind not in self._seen:
            self._seen.add(kind)
            logger.warning("the observer %s raised %s", type(self._observer).__name__, kind.__name__)


def _told(field: str, value: object) -> object:
    return redact(value) if isinstance(value, str) and field != OURS else value
