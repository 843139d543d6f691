"""Logging, the default observer.

One line per event at the level of the catalogue, one per request at DEBUG, through the logger `truecaller_async`:

    campaign.started max_tokens=10 run=1
    submit 429 RateLimited in 0.030 s token_id=0af4f3b944b7

Every figure is in `extra=` as well, prefixed `tc_`, so that a JSON formatter can have it: `tc_stage` and the fields of
the stage, or `tc_call`, `tc_token_id`, `tc_status`, `tc_seconds` and `tc_error`. They are ids, counts, times and words;
no secret and no full phone number ever comes here. Who has not configured logging sees nothing of it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from truecaller_async.telemetry.events import EVENTS

logger = logging.getLogger("truecaller_async")
logger.addHandler(logging.NullHandler())


class LoggingObserver:
    """Writes to the logger `truecaller_async`."""

    def request(self, call: str, token_id: str | None, status: int | None, seconds: float, error: str | None) -> None:
        """One HTTP attempt ended."""
        if logger.isEnabledFor(logging.DEBUG):
            ended = " ".join(str(part) for part in (call, status, error) if part is not None)
            token = _pairs({} if token_id is None else {"token_id": token_id})
            fields = {"call": call, "token_id": token_id, "status": status, "seconds": seconds, "error": error}
            logger.debug("%s in %.3f s%s", ended, seconds, token, extra=_extra(fields))

    def event(self, name: str, fields: Mapping[str, object]) -> None:
        """A stage was reached."""
        level = EVENTS[name].level if name in EVENTS else logging.INFO
        if logger.isEnabledFor(level):
            logger.log(level, "%s%s", name, _pairs(fields), extra=_extra({"stage": name, **fields}))


def _extra(fields: Mapping[str, object]) -> dict[str, object]:
    return {f"tc_{name}": value for name, value in fields.items()}


def _pairs(fields: Mapping[str, object]) -> str:
    return "".join(f" {name}={_shown(value)}" for name, value in fields.items())


def _shown(value: object) -> str:
    """A value in one word; a sentence stands in quotation marks, so that it is seen where it ends."""
    text = f"{value:.3f}" if isinstance(value, float) else str(value)
    return text if text and not {" ", '"', "="}.intersection(text) else '"' + text.replace('"', "'") + '"'
