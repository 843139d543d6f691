"""Tokens, as far as a user has to know of them: what there is, what may still be made, and making one to try a key.

Requests take care of tokens by themselves. `status` is for the question "why does it wait?", and changes nothing.
`make` is for the question "does this key work?", and costs one of the ten that may be made in half an hour.
"""

from __future__ import annotations

from truecaller_async.models.tokens import TokenStatus
from truecaller_async.resources.api_context import ApiContext


class Tokens:
    """`client.tokens`: what there is, and what may still be made. Requests take care of tokens by themselves."""

    def __init__(self, service: ApiContext) -> None:
        self._service = service

    async def status(self) -> TokenStatus:
        """The live tokens of the account, and the budget of new ones, as this client's state knows them.

        Makes no token and no request, and creates no file. Raises `ConfigError` where the state cannot be read.
        """
        return await self._service.pool.status()

    async def make(self) -> str | None:
        """Create one more token, which requests then use; its `token_id`. None where `max_tokens` are live, or where
        another task made one in the meantime.

        From "Truecaller for Business: Generate Access Token". Raises `AuthenticationFailed` where the key is refused,
        `TokenBudgetExhausted` where none may be made now, and the errors of `TransportError` and `APIStatusError`.
        """
        token = await self._service.pool.grow()
        return None if token is None else token.token_id
