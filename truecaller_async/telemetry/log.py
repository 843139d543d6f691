"""Logging, the default observer.

One line per stage at INFO, one per request at DEBUG, through the logger `truecaller_async` with every field in
`extra=` as well (prefixed `tc_`), so that a JSON formatter can have them. Fields are ids, counts and times; no secret
and no full phone number ever comes here.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

logger = logging.getLogger("truecaller_async")
logger.addHandler(logging.NullHandler())


class LogObserver:
    """Writes to the logger `truecaller_async`."""

    def request(self, call: str, token_id: str | None, status: int | None, seconds: float, error: str | None) -> None:
        """One HTTP attempt ended."""
        if logger.isEnabledFor(logging.DEBUG):
            fields = {"call": call, "token_id": token_id, "status": status, "seconds": seconds, "error": error}
            logger.debug(
                "%s %s in %.3f s", call, error or status, seconds, extra={f"tc_{k}": v for k, v in fields.items()}
            )

    def stage(self, name: str, fields: Mapping[str, object]) -> None:
        """A stage was reached."""
        if logger.isEnabledFor(logging.INFO):
            text = " ".join(f"{key}={value}" for key, value in fields.items())
            logger.info("%s %s", name, text, extra={f"tc_{key}": value for key, value in fields.items()})
