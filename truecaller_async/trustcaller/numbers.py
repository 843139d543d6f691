"""Numbers: those that the account has reserved, and those that anybody may try a route with."""

from __future__ import annotations

from functools import partial
from operator import attrgetter

from truecaller_async.models import Page
from truecaller_async.resources.pagination import Listed, Listing
from truecaller_async.trustcaller.models import PublicTestNumber, ReservedNumber
from truecaller_async.trustcaller.requester import TrustCallerRequester
from truecaller_async.trustcaller.requests import numbers_request, public_test_numbers_request
from truecaller_async.trustcaller.responses import decode_numbers, decode_public_test_numbers


class TrustCallerNumbers:
    """`client.numbers`."""

    def __init__(self, requester: TrustCallerRequester) -> None:
        self._requester = requester

    def list(self, *, page: int = 1, per_page: int | None = None) -> Listing[ReservedNumber]:
        """The reserved numbers of the account. From "TrustCaller API: List numbers".

        `await` it for one page, `async for` it for every number from that page on. A page has `per_page` numbers, 1 to
        1000, and 100 where it is not given; with 60 requests a minute, a long list is best read by 1000.

        Raises `ValidationError` at once where `page` or `per_page` is out of its range. Awaited or iterated it raises
        `AuthenticationFailed`, `Forbidden` (the account lacks the permission api_access), `RateLimited`, the other
        errors of `APIStatusError` and `TransportError`, and `DecodeError` with the place in the answer.
        """
        numbers_request(page, per_page)

        async def fetch(number: int) -> Page[ReservedNumber]:
            read = partial(decode_numbers, page=number)
            return await self._requester.call(numbers_request(number, per_page), read)

        return Listing(Listed("numbers", fetch, attrgetter("id")), page, per_page)


class TrustCallerTestNumbers:
    """`client.test_numbers`."""

    __test__ = False  # the name is the documentation's; pytest must not take it for a test

    def __init__(self, requester: TrustCallerRequester) -> None:
        self._requester = requester

    def list(self, *, prefix: str | None = None) -> Listing[PublicTestNumber]:
        """Public test numbers, all or those that begin with `prefix`. From "TrustCaller API: Test numbers".

        The list has one page. The server keeps its answer for 5 minutes, so asking more often tells nothing new.

        Raises `ValidationError` at once for a `prefix` that is not 1 to 15 digits. Awaited or iterated it raises what
        `numbers.list` raises.
        """
        request = public_test_numbers_request(prefix)

        async def fetch(number: int) -> Page[PublicTestNumber]:
            return await self._requester.call(request, decode_public_test_numbers)

        return Listing(Listed("test numbers", fetch, attrgetter("prefix", "test_number")), 1, None)
