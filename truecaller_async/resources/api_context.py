"""Give the resources of one copy of a client what they need for a call."""

from __future__ import annotations

from collections.abc import Callable, Collection
from random import Random
from typing import TypeVar

import attrs

from truecaller_async.clock import Clock
from truecaller_async.models import Answer, Request, Secret
from truecaller_async.ports import Write
from truecaller_async.resources.executor import ClientSettings, RequestExecutor
from truecaller_async.resources.pooled_call import PooledCall
from truecaller_async.tokens import TokenPermit, TokenPool

T = TypeVar("T")


@attrs.frozen(eq=False)
class ApiContext:
    """The executor, the pool and the settings of one copy of a client."""

    executor: RequestExecutor
    pool: TokenPool
    settings: ClientSettings
    clock: Clock
    rng: Random

    @property
    def account(self) -> str:
        """The account id that is part of every path."""
        return self.settings.credentials.client_account_id

    def now_ms(self) -> int:
        """Return the server's time in ms since the epoch. Validity windows of records are judged by it."""
        return int(self.executor.server_time() * 1000)

    async def call(self, request: Request, read: Callable[[Answer], T], deadline: float | None = None) -> T:
        """Make a call with a token of the pool. `deadline` is on the loop's clock. See `pooled_call`."""
        return await PooledCall(self.executor, self.pool, self.settings, request, read, deadline).run()

    async def download(self, link: Secret, write: Write, *, hosts: Collection[str], max_bytes: int) -> None:
        """Download the file behind a link, in one attempt and without a token."""
        await self.executor.download(link, write, self.settings.timeouts, hosts=hosts, max_bytes=max_bytes)

    async def attempt(self, request: Request, permit: TokenPermit, read: Callable[[Answer], T]) -> T:
        """Make one attempt, which ends the permit. For campaigns, which have their own retry policy."""
        return await self.executor.attempt(request, permit.token, self.settings.timeouts, read, permit)

    def warn_deprecated(self, call: str, advice: str) -> None:
        """Warn that the vendor deprecated this call, once for all copies of the client."""
        self.executor.deprecations.warn(call, advice)

    def warn_version(self, call: str) -> None:
        """Warn that this call is deprecated in the API version of the client, if it is."""
        self.executor.deprecations.warn_version(call, self.settings.api_version)
