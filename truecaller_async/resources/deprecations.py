"""What the vendor deprecated, and the warning that says so.

A warning is told once per client and call, because a loop of a million pushes has one lesson to learn. Copies of a
client made by `with_options` are one client here. It points at the line outside this package that made the call:
Python shows such warnings by default only for the line of a person's own script. That holds through `await`; where a
call was put into a task of its own, no line of the caller is left on the stack, and the event loop's is named.
"""

from __future__ import annotations

import inspect
import warnings

from truecaller_async.errors import TruecallerDeprecationWarning

OURS = __name__.partition(".")[0] + "."

VERSION_1 = (
    "version 1 of call personalisation is deprecated by the vendor; use version 2, client.with_options(api_version="
    '"v2"), described on the pages "Truecaller for Business: Call Personalisation Real-time v2" and "Batch v2"'
)


class Deprecations:
    """Which calls of a client were warned of already."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    def warn(self, call: str, advice: str) -> None:
        """Warn that this call is deprecated, unless that was told. A warning that is made an error was not told."""
        if call in self._told:
            return
        warnings.warn(f"{call}: {advice}", TruecallerDeprecationWarning, stacklevel=_levels_to_the_caller())
        self._told.add(call)

    def warn_version(self, call: str, api_version: str) -> None:
        """Warn where the client speaks the deprecated version."""
        if api_version == "v1":
            self.warn(call, VERSION_1)


def _levels_to_the_caller() -> int:
    """How far up from the caller of this function the first line outside this package is, as `stacklevel` counts."""
    frame, levels = inspect.currentframe(), 0
    while frame is not None and frame.f_globals.get("__name__", "").startswith(OURS):
        frame, levels = frame.f_back, levels + 1
    return levels
