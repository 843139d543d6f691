"""The connection from the objects of one blocking client to its async client."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from truecaller_async.blocking.loop_thread import LoopThreadRegistry
from truecaller_async.client import TruecallerClient as AsyncClient

T = TypeVar("T")


class Portal:
    """Runs calls on the async client of this process, with the options of one copy of the blocking client.

    Args:
        registry: The loop threads, shared by all copies of the client.
        configure: Returns the async client with the options of this copy. It is applied at every call, because a forked
            child has another async client.
    """

    def __init__(
        self, registry: LoopThreadRegistry, configure: Callable[[AsyncClient], AsyncClient] = lambda client: client
    ) -> None:
        self.registry = registry
        self.configure = configure

    def client(self) -> AsyncClient:
        """Return the async client of this process. Raises `ClientClosed` after a close."""
        return self.configure(self.registry.current().client)

    def run(self, work: Callable[[AsyncClient], Awaitable[T]]) -> T:
        """Run the work on the loop with the async client, and wait. Raises what `LoopThread.run` raises."""
        loop_thread = self.registry.current()
        return loop_thread.run(lambda: work(self.configure(loop_thread.client)))


def read_here(items: Iterable[T]) -> Iterable[T]:
    """Read an iterable in the caller's thread, because reading it may block (a database cursor).

    A value that is no iterable, or a string, is returned as it is: the async method raises the `ValidationError`.
    """
    is_collection = isinstance(items, Iterable) and not isinstance(items, str)
    return list(items) if is_collection else items
