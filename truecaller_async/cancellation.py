"""Tell a cancellation of the current task from a cancellation of what it awaits."""

from __future__ import annotations

import asyncio
from types import TracebackType


def is_being_cancelled() -> bool:
    """Return whether the current task itself is being cancelled.

    A `CancelledError` also arrives if only the awaited task or future was cancelled, for example by the close of a
    client. Then the caller may raise another error in its place. Outside a task the answer is True, so that the caller
    lets the `CancelledError` pass.
    """
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


class cancelled_from_outside:  # noqa: N801 - used like a function, and without the cost of a generator
    """Convert a `CancelledError` that is not a cancellation of the current task into a `RuntimeError`.

    Args:
        what: What was awaited, for the message.
    """

    __slots__ = ("_what",)

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if isinstance(error, asyncio.CancelledError) and not is_being_cancelled():
            raise RuntimeError(f"{self._what} raised CancelledError, but was not cancelled. Check it") from None
