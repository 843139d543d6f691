"""Keys: the tokens of the account, made and ended by program. All of it needs the permission api_keys_manage."""

from __future__ import annotations

from operator import attrgetter

from truecaller_async.models import Page
from truecaller_async.resources.pagination import Listed, Listing
from truecaller_async.trustcaller.models import ApiKey, NewKey
from truecaller_async.trustcaller.requester import TrustCallerRequester
from truecaller_async.trustcaller.requests import create_key_request, keys_request, revoke_key_request
from truecaller_async.trustcaller.responses import decode_keys, decode_new_key, decode_revoked


class TrustCallerKeys:
    """`client.keys`."""

    def __init__(self, requester: TrustCallerRequester) -> None:
        self._requester = requester

    async def create(self, name: str) -> NewKey:
        """Make a key. From "TrustCaller API: Create an API key".

        `name` is a label of 1 to 64 characters. The answer's `token` is told this once: store `token.reveal()`.

        Never repeated where it may have been applied. Raises `ResponseLost`, `ServerError` or `DecodeError` where a key
        may have been made whose token nobody has: look for it in `list`, by name, and `revoke` it. Raises also
        `ValidationError` before sending, `Forbidden` (the account lacks the permission api_keys_manage), and what
        `numbers.list` raises.
        """
        return await self._requester.call(create_key_request(name), decode_new_key)

    def list(self) -> Listing[ApiKey]:
        """All keys of the account, without their tokens, in one page. From "TrustCaller API: List API keys".

        Awaited or iterated it raises `Forbidden` (the account lacks the permission api_keys_manage), and what
        `numbers.list` raises.
        """

        async def fetch(number: int) -> Page[ApiKey]:
            return await self._requester.call(keys_request(), decode_keys)

        return Listing(Listed("keys", fetch, attrgetter("id")), 1, None)

    async def revoke(self, key_id: int) -> None:
        """End a key, at once. From "TrustCaller API: Revoke an API key".

        Repeated where the answer was lost; "not found" after that means that it was ended. Raises `ValidationError`
        before sending for an id that is no whole number from 1, `NotFound` where there is no such key of yours,
        `Forbidden` (the account lacks the permission api_keys_manage), and what `numbers.list` raises.
        """
        await self._requester.call_idempotent(revoke_key_request(key_id), decode_revoked)
