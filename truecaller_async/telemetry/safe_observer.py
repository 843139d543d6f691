"""Isolate the package from the observer of the caller, and redact what the observer receives.

Invariants:
    - An exception of the observer changes nothing. An observer is called at places where an exception would look like
      a failed request or end a campaign. Each class of exception is logged once and then ignored.
    - A text of the server, such as a status or the message of an error, is redacted before the observer receives it,
      because observers write to logs and dashboards. Token ids are hashes made by the package, and stay whole.
"""

from __future__ import annotations

from collections.abc import Mapping

from truecaller_async.ports import Observer
from truecaller_async.redaction import redact
from truecaller_async.telemetry.logging_observer import logger

TOKEN_ID_FIELD = "token_id"  # noqa: S105 - the name of a field


class SafeObserver:
    """Observer that forwards redacted events to another observer and suppresses its exceptions."""

    def __init__(self, observer: Observer) -> None:
        """Store the observer that receives the events."""
        self._observer = observer
        self._logged: set[type[Exception]] = set()

    def request(self, call: str, token_id: str | None, status: int | None, seconds: float, error: str | None) -> None:
        """Forward the end of one HTTP attempt; the arguments are those of `Observer.request`."""
        try:
            self._observer.request(call, token_id, status, seconds, error)
        except Exception as raised:  # noqa: BLE001 - an observer must not change the outcome of a call
            self._log_once(raised)

    def event(self, name: str, fields: Mapping[str, object]) -> None:
        """Forward an event with redacted fields; the arguments are those of `Observer.event`."""
        try:
            self._observer.event(name, {field: _redacted(field, value) for field, value in fields.items()})
        except Exception as raised:  # noqa: BLE001 - an observer must not change the outcome of a call
            self._log_once(raised)

    def _log_once(self, raised: Exception) -> None:
        kind = type(raised)
        if kind not in self._logged:
            self._logged.add(kind)
            logger.warning("the observer %s raised %s", type(self._observer).__name__, kind.__name__)


def _redacted(field: str, value: object) -> object:
    return redact(value) if isinstance(value, str) and field != TOKEN_ID_FIELD else value
