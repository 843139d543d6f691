"""Find the line of the caller for a warning."""

from __future__ import annotations

import inspect

PACKAGE_PREFIX = __name__.partition(".")[0] + "."


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
