"""Write events and requests to the logger `truecaller_async`; the default observer.

Algorithm:
    Each event is one line at the level of the catalogue (`telemetry.events`), each request one line at DEBUG:

        campaign.started max_tokens=10 run=1
        submit 429 RateLimited in 0.030 s token_id=0af4f3b944b7

    A JSON formatter finds all values as attributes of the log record with the prefix `tc_`: `tc_event` and the fields
    of the event, or `tc_call`, `tc_token_id`, `tc_status`, `tc_seconds` and `tc_error`.

Invariants:
    - The values are ids, counts, times and short texts. No secret and no full phone number is among them.
    - Without a configuration of logging nothing is printed.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from truecaller_async.redaction import log_value
from truecaller_async.telemetry.events import EVENTS

logger = logging.getLogger("truecaller_async")
logger.addHandler(logging.NullHandler())


class LoggingObserver:
    """Observer that writes to the logger `truecaller_async`."""

    def request(self, call: str, token_id: str | None, status: int | None, seconds: float, error: str | None) -> None:
        """Log the end of one HTTP attempt at DEBUG.

        Args:
            call: name of the call, such as "submit".
            token_id: short hash of the token; None if the request had none.
            status: HTTP status; None if no answer was received.
            seconds: duration of the attempt.
            error: class name of the error; None after success.
        """
        if logger.isEnabledFor(logging.DEBUG):
            summary = " ".join(str(part) for part in (call, status, error) if part is not None)
            token = _pairs({} if token_id is None else {"token_id": token_id})
            fields = {"call": call, "token_id": token_id, "status": status, "seconds": seconds, "error": error}
            logger.debug("%s in %.3f s%s", summary, seconds, token, extra=_extra(fields))

    def event(self, name: str, fields: Mapping[str, object]) -> None:
        """Log an event at the level of the catalogue; at INFO if the catalogue does not have it.

        Args:
            name: name of the event, such as "token.minted".
            fields: fields of the event.
        """
        level = EVENTS[name].level if name in EVENTS else logging.INFO
        if logger.isEnabledFor(level):
            logger.log(level, "%s%s", name, _pairs(fields), extra=_extra({"event": name, **fields}))


def _extra(fields: Mapping[str, object]) -> dict[str, object]:
    # The prefix keeps the names apart from the attributes of a log record, such as `message` and `name`.
    return {f"tc_{name}": value for name, value in fields.items()}


def _pairs(fields: Mapping[str, object]) -> str:
    return "".join(f" {name}={log_value(value)}" for name, value in fields.items())
