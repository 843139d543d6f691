"""Tell a cancellation of the current task from a cancellation of what it awaits."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator


def is_being_cancelled() -> bool:
    """Return whether the current task itself is being cancelled.

    A `CancelledError` also arrives if only the awaited task or future was cancelled, for example by the close of a
    client. Then the caller may raise another error in its place. Outside a task the answer is True, so that the caller
    lets the `CancelledError` pass.
    """
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


@contextlib.contextmanager
def cancelled_from_outside(what: str) -> Iterator[None]:
    """Convert a `CancelledError` that is not a cancellation of the current task into a `RuntimeError`.

    Args:
        what: What was awaited, for the message.
    """
    try:
        yield
    except asyncio.CancelledError:
        if is_being_cancelled():
            raise
        raise RuntimeError(f"{what} raised CancelledError, but was not cancelled. Check it") from None
