"""List feature sets: the texts and offers of a call. They are made in the console."""

from __future__ import annotations

from functools import partial
from operator import attrgetter

from truecaller_async.models import Answer, FeatureSet, Page
from truecaller_async.protocol.number_requests import Id, Paging, feature_sets_request
from truecaller_async.protocol.responses import read_feature_sets
from truecaller_async.resources.api_context import ApiContext
from truecaller_async.resources.pagination import ListedKind, Listing


class FeatureSets:
    """`client.feature_sets`: the sets under which numbers are listed. They are made in the console."""

    def __init__(self, context: ApiContext) -> None:
        self._context = context

    def list(
        self,
        *,
        department_id: Id | None = None,
        operation_id: Id | None = None,
        process_id: Id | None = None,
        page: int = 1,
        limit: int | None = None,
    ) -> Listing[FeatureSet]:
        """List the feature sets of the account.

        From "Truecaller for Business: Feature sets". At most one filter may be given; each is a UUID.

        Args:
            department_id: List only the sets of this department.
            operation_id: List only the sets of this operation.
            process_id: List only the sets of this process.
            page: The first page, from 1.
            limit: The most items of a page; if None, the server decides (50 in the printed sample).

        Returns:
            A `Listing`: `await` it for one page, `async for` it for all feature sets from that page on. Both raise
            `Forbidden` (the key has no access to number management), the other errors of `APIStatusError` and
            `TransportError`, and `DecodeError` with the JSON path, such as `$.feature_sets[2].id`.

        Raises:
            ValidationError: `page` or `limit` is not a whole number from 1, a filter is not a UUID, or there are two.
        """
        build = partial(
            feature_sets_request,
            self._context.account,
            department_id=department_id,
            operation_id=operation_id,
            process_id=process_id,
        )
        build(Paging(page, limit))

        async def fetch(number: int) -> Page[FeatureSet]:
            return await self._context.call(build(Paging(number, limit)), self._read)

        return Listing(ListedKind("feature sets", fetch, attrgetter("id")), page, limit)

    def _read(self, answer: Answer) -> Page[FeatureSet]:
        return read_feature_sets(answer, now=self._context.clock.wall())
