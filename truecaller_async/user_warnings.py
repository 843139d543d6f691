"""Warn the caller, at its own line: once for each deprecated call.

Copies of a client made by `with_options` count as one client.
"""

from __future__ import annotations

import inspect
import warnings

from truecaller_async.errors import TruecallerDeprecationWarning

PACKAGE_PREFIX = __name__.partition(".")[0] + "."

VERSION_1 = (
    "version 1 of call personalisation is deprecated by the vendor; use version 2, client.with_options(api_version="
    '"v2"), described on the pages "Truecaller for Business: Call Personalisation Real-time v2" and "Batch v2"'
)


class Deprecations:
    """The deprecation warnings of one client."""

    def __init__(self) -> None:
        self._warned: set[str] = set()

    def warn(self, call: str, advice: str) -> None:
        """Warn that this call is deprecated, unless it was warned of before.

        Args:
            call: The name of the call, such as "calls.push".
            advice: The reason, and what to use instead.

        Raises:
            TruecallerDeprecationWarning: A warnings filter turns the warning into an error. The call then warns again.
        """
        if call in self._warned:
            return
        warnings.warn(f"{call}: {advice}", TruecallerDeprecationWarning, stacklevel=stacklevel_of_caller())
        self._warned.add(call)

    def warn_version(self, call: str, api_version: str) -> None:
        """Warn that this call is deprecated if the client uses API version 1."""
        if api_version == "v1":
            self.warn(call, VERSION_1)


def stacklevel_of_caller() -> int:
    """Return the `stacklevel` that makes `warnings.warn` point at the first line outside this package.

    Python shows deprecation warnings by default only for lines of the main program, so they must point there. Works
    through `await`. In a task that the caller created, no line of the caller is on the stack: the warning then points
    at the event loop.
    """
    frame, levels = inspect.currentframe(), 0
    while frame is not None and frame.f_globals.get("__name__", "").startswith(PACKAGE_PREFIX):
        frame, levels = frame.f_back, levels + 1
    return levels
