"""Tell a cancellation of the current task from a cancellation of what it awaits."""

from __future__ import annotations

import asyncio


def is_being_cancelled() -> bool:
    """Return whether the current task itself is being cancelled.

    A `CancelledError` also arrives if only the awaited task or future was cancelled, for example by the close of a
    client. Then the caller may raise another error in its place. Outside a task the answer is True, so that the caller
    lets the `CancelledError` pass.
    """
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0
