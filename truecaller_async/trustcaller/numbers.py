"""The resources `client.numbers` (reserved numbers) and `client.test_numbers` (public ones)."""

from __future__ import annotations

from functools import partial
from operator import attrgetter

from truecaller_async.models import Page
from truecaller_async.resources.pagination import ListedKind, Listing
from truecaller_async.trustcaller.models import PublicTestNumber, ReservedNumber
from truecaller_async.trustcaller.requester import TrustCallerRequester
from truecaller_async.trustcaller.requests import numbers_request, public_test_numbers_request
from truecaller_async.trustcaller.responses import decode_numbers, decode_public_test_numbers


class TrustCallerNumbers:
    """The resource `client.numbers`."""

    def __init__(self, requester: TrustCallerRequester) -> None:
        self._requester = requester

    def list(self, *, page: int = 1, per_page: int | None = None) -> Listing[ReservedNumber]:
        """List the reserved numbers of the account. From "TrustCaller API: List numbers".

        Await the result for one page. Iterate over it with `async for` for all numbers from that page on. With 60
        requests a minute, read a long list with `per_page=1000`.

        Args:
            page: First page, from 1.
            per_page: Numbers per page, 1 to 1000; 100 if None.

        Returns:
            The listing.

        Raises:
            ValidationError: At once: `page` or `per_page` is out of range.
            AuthenticationFailed, RateLimited, APIStatusError, TransportError: When awaited or iterated: the request
                failed.
            Forbidden: When awaited or iterated: the account lacks the permission api_access.
            DecodeError: When awaited or iterated: the answer has another form. It has the JSON path.
        """
        numbers_request(page, per_page)

        async def fetch(number: int) -> Page[ReservedNumber]:
            read = partial(decode_numbers, page=number)
            return await self._requester.call(numbers_request(number, per_page), read)

        return Listing(ListedKind("numbers", fetch, attrgetter("id")), page, per_page)


class TrustCallerTestNumbers:
    """The resource `client.test_numbers`."""

    __test__ = False  # the documented name; pytest must not collect the class

    def __init__(self, requester: TrustCallerRequester) -> None:
        self._requester = requester

    def list(self, *, prefix: str | None = None) -> Listing[PublicTestNumber]:
        """List public test numbers, in one page. From "TrustCaller API: Test numbers".

        The server caches its answer for 5 minutes, so calls in between return the same.

        Args:
            prefix: Start of the numbers, 1 to 15 digits; None for all.

        Returns:
            The listing.

        Raises:
            ValidationError: At once: `prefix` has the wrong form.
            TruecallerError: When awaited or iterated: as `numbers.list`.
        """
        request = public_test_numbers_request(prefix)

        async def fetch(number: int) -> Page[PublicTestNumber]:
            return await self._requester.call(request, decode_public_test_numbers)

        return Listing(ListedKind("test numbers", fetch, attrgetter("prefix", "test_number")), 1, None)
