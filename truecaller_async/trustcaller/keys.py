"""The resource `client.keys`: create, list and revoke API keys.

All calls require the permission api_keys_manage.
"""

from __future__ import annotations

from operator import attrgetter

from truecaller_async.models import Page
from truecaller_async.resources.pagination import ListedKind, Listing
from truecaller_async.trustcaller.models import ApiKey, NewKey
from truecaller_async.trustcaller.requester import TrustCallerRequester
from truecaller_async.trustcaller.requests import create_key_request, keys_request, revoke_key_request
from truecaller_async.trustcaller.responses import decode_keys, decode_new_key, decode_revoked


class TrustCallerKeys:
    """The resource `client.keys`."""

    def __init__(self, requester: TrustCallerRequester) -> None:
        self._requester = requester

    async def create(self, name: str) -> NewKey:
        """Create a key. From "TrustCaller API: Create an API key".

        The answer is the only one that contains the token: store `token.reveal()`. The call is not repeated if it may
        have been applied. If it fails with `ResponseLost`, `ServerError` or `DecodeError`, a key without known token
        may exist: find it in `list` by its name, and `revoke` it.

        Args:
            name: Label of 1 to 64 characters.

        Returns:
            The key with its token.

        Raises:
            ValidationError: The name has the wrong form. Nothing was sent.
            Forbidden: The account lacks the permission api_keys_manage.
            TruecallerError: As `numbers.list`.
        """
        return await self._requester.call(create_key_request(name), decode_new_key)

    def list(self) -> Listing[ApiKey]:
        """List all keys of the account, without tokens, in one page. From "TrustCaller API: List API keys".

        Returns:
            The listing.

        Raises:
            Forbidden: When awaited or iterated: the account lacks the permission api_keys_manage.
            TruecallerError: As `numbers.list`.
        """

        async def fetch(number: int) -> Page[ApiKey]:
            return await self._requester.call(keys_request(), decode_keys)

        return Listing(ListedKind("keys", fetch, attrgetter("id")), 1, None)

    async def revoke(self, key_id: int) -> None:
        """Revoke a key, effective at once. From "TrustCaller API: Revoke an API key".

        Repeated after a lost answer; 404 then means that the key is revoked.

        Args:
            key_id: Id of the key, from 1.

        Raises:
            ValidationError: The id is not a whole number from 1. Nothing was sent.
            NotFound: The account has no such key.
            Forbidden: The account lacks the permission api_keys_manage.
            TruecallerError: As `numbers.list`.
        """
        await self._requester.call_idempotent(revoke_key_request(key_id), decode_revoked)
