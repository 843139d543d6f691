"""Calls: the records of those that were made, and whether one is there now."""

from __future__ import annotations

from datetime import date
from functools import partial
from operator import attrgetter

from truecaller_async.models import Page
from truecaller_async.resources.pagination import Listed, Listing
from truecaller_async.trustcaller.models import CallDetail
from truecaller_async.trustcaller.requester import TrustCallerRequester
from truecaller_async.trustcaller.requests import call_request, calls_request, check_request
from truecaller_async.trustcaller.responses import decode_call, decode_calls, decode_check


class TrustCallerCalls:
    """`client.calls`."""

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
        """The call records of the account, newest first. From "TrustCaller API: List calls".

        `await` it for one page, `async for` it for every call from that page on. The dates are days; their time zone,
        and whether `to_date` itself belongs to them, is documented nowhere. A call that is made while the pages are
        read shifts the older ones, so that one may come twice: give a `to_date` in the past, or look at the ids.

        Raises `ValidationError` at once for a date that is none (a datetime is none), dates in the wrong order, and a
        `page` or `per_page` out of its range. Awaited or iterated it raises what `numbers.list` raises.
        """
        calls_request(page, per_page, from_date, to_date)

        async def fetch(number: int) -> Page[CallDetail]:
            read = partial(decode_calls, page=number)
            return await self._requester.call(calls_request(number, per_page, from_date, to_date), read)

        return Listing(Listed("calls", fetch, attrgetter("id")), page, per_page)

    async def get(self, call_id: int) -> CallDetail:
        """One call record. From "TrustCaller API: Get a call".

        Raises `ValidationError` before sending for an id that is no whole number from 1; `NotFound` where there is
        none, or it is another account's; and what `numbers.list` raises.
        """
        return await self._requester.call(call_request(call_id), decode_call)

    async def check(self, number: str) -> bool:
        """Whether a live, answered call is on this number of yours. From "TrustCaller API: Check live call".

        `number` is digits with country code; a `+` before them is taken off, because the server compares digits only.
        False also for the numbers of other accounts.

        Raises `ValidationError` before sending for anything else, and what `numbers.list` raises.
        """
        return await self._requester.call(check_request(number), decode_check)
