"""Feature sets: what is shown and offered when one of their numbers calls. They are made in the console."""

from __future__ import annotations

from functools import partial
from operator import attrgetter

from truecaller_async.models import Answer, FeatureSet, Page
from truecaller_async.protocol.number_requests import Id, Paging, feature_sets_request
from truecaller_async.protocol.responses import read_feature_sets
from truecaller_async.resources.api_context import ApiContext
from truecaller_async.resources.pagination import Listed, Listing


class FeatureSets:
    """`client.feature_sets`: what numbers are listed under. They are made in the console."""

    def __init__(self, service: ApiContext) -> None:
        self._service = service

    def list(
        self,
        *,
        department_id: Id | None = None,
        operation_id: Id | None = None,
        process_id: Id | None = None,
        page: int = 1,
        limit: int | None = None,
    ) -> Listing[FeatureSet]:
        """The feature sets of the account. From "Truecaller for Business: Feature sets".

        `await` it for one page, `async for` it for every feature set from that page on. At most one filter may be
        given; each is a UUID. Without a `limit` a page has as many items as the server likes (50 in the printed
        sample). `.total_pages` is what the server says.

        Raises `ValidationError` at once for a `page` or `limit` that is not a whole number from 1, a filter that is no
        UUID, and two filters. Awaited or iterated it raises `Forbidden` (the key has no access to number
        management), the other errors of `APIStatusError` and `TransportError`, and `DecodeError` with the place in the
        answer, such as `$.feature_sets[2].id`.
        """
        build = partial(
            feature_sets_request,
            self._service.account,
            department_id=department_id,
            operation_id=operation_id,
            process_id=process_id,
        )
        build(Paging(page, limit))

        async def fetch(number: int) -> Page[FeatureSet]:
            return await self._service.call(build(Paging(number, limit)), self._read)

        return Listing(Listed("feature sets", fetch, attrgetter("id")), page, limit)

    def _read(self, answer: Answer) -> Page[FeatureSet]:
        return read_feature_sets(answer, now=self._service.clock.wall())
