"""Show the tokens of the account, and create one.

Requests create and renew tokens automatically. `status` explains why a request waits, and changes nothing. `make` tests
a key; it uses one of the 10 token requests that are allowed in 30 minutes.
"""

from __future__ import annotations

from truecaller_async.models.tokens import TokenStatus
from truecaller_async.resources.api_context import ApiContext


class Tokens:
    """`client.tokens`: live tokens and the token budget. Requests create and renew tokens automatically."""

    def __init__(self, context: ApiContext) -> None:
        self._context = context

    async def status(self) -> TokenStatus:
        """Return the live tokens and the budget of new ones, as the client's state knows them.

        Creates no token and no file, and sends no request.

        Returns:
            The status. Its durations are seconds.

        Raises:
            ConfigError: The state file cannot be read.
            ClientClosed: The client is closed, or belongs to another event loop or process.
        """
        return await self._context.pool.status()

    async def make(self) -> str | None:
        """Create one more token, which requests then use.

        From "Truecaller for Business: Generate Access Token".

        Returns:
            The `token_id`. None if `max_tokens` are live, or if another task created a token meanwhile.

        Raises:
            AuthenticationFailed: The server rejected the key.
            TokenBudgetExhausted: No token may be created now.
            TruecallerError: The errors of `TransportError` and `APIStatusError`, `WaitTooLong` and `ClientClosed`.
        """
        token = await self._context.pool.grow()
        return None if token is None else token.token_id
