"""The resource `client.calls`: call records, and the check for a live call."""

from __future__ import annotations

from datetime import date
from functools import partial
from operator import attrgetter

from truecaller_async.models import Page
from truecaller_async.resources.pagination import ListedKind, Listing
from truecaller_async.trustcaller.models import CallDetail
from truecaller_async.trustcaller.requester import TrustCallerRequester
from truecaller_async.trustcaller.requests import call_request, calls_request, check_request
from truecaller_async.trustcaller.responses import decode_call, decode_calls, decode_check


class TrustCallerCalls:
    """The resource `client.calls`."""

    def __init__(self, requester: TrustCallerRequester) -> None:
        self._requester = requester

    def list(
        self,
        *,
        from_date: date | None = None,
        to_date: date | None = None,
        page: int = 1,
        per_page: int | None = None,
    ) -> Listing[CallDetail]:
        """List the call records of the account, newest first. From "TrustCaller API: List calls".

        Await the result for one page. Iterate over it with `async for` for all calls from that page on.

        A call that starts while the pages are read shifts the older ones, so a record may occur twice. To avoid this
        give a `to_date` in the past, or compare the ids.

        Args:
            from_date: First day. The time zone of the days is not documented.
            to_date: Last day. Whether this day is included is not documented.
            page: First page, from 1.
            per_page: Records per page, 1 to 1000; 100 if None.

        Returns:
            The listing.

        Raises:
            ValidationError: At once: a date is not a `date` (a `datetime` is not accepted), the dates are in the wrong
                order, or `page` or `per_page` is out of range.
            TruecallerError: When awaited or iterated: as `numbers.list`.
        """
        calls_request(page, per_page, from_date, to_date)

        async def fetch(number: int) -> Page[CallDetail]:
            read = partial(decode_calls, page=number)
            return await self._requester.call(calls_request(number, per_page, from_date, to_date), read)

        return Listing(ListedKind("calls", fetch, attrgetter("id")), page, per_page)

    async def get(self, call_id: int) -> CallDetail:
        """Fetch one call record. From "TrustCaller API: Get a call".

        Args:
            call_id: Id of the call, from 1.

        Returns:
            The record.

        Raises:
            ValidationError: The id is not a whole number from 1. Nothing was sent.
            NotFound: There is no such call, or it belongs to another account.
            TruecallerError: As `numbers.list`.
        """
        return await self._requester.call(call_request(call_id), decode_call)

    async def check(self, number: str) -> bool:
        """Return whether a live, answered call is on this number. From "TrustCaller API: Check live call".

        Args:
            number: Number of the account: digits with country code. A leading `+` is removed, because the server
                compares digits only.

        Returns:
            True for a live call. False also for numbers of other accounts.

        Raises:
            ValidationError: The number has another form. Nothing was sent.
            TruecallerError: As `numbers.list`.
        """
        return await self._requester.call(check_request(number), decode_check)
