"""List dynamic labels: the names and logos that call records may show. They are made in the console."""

from __future__ import annotations

from functools import partial
from operator import attrgetter

from truecaller_async.models import Answer, Label, Page
from truecaller_async.protocol.requests import labels_request
from truecaller_async.protocol.responses import read_labels
from truecaller_async.resources.api_context import ApiContext
from truecaller_async.resources.pagination import ListedKind, Listing


class Labels:
    """`client.labels`: the dynamic labels that call records may name. They are made in the console."""

    def __init__(self, context: ApiContext) -> None:
        self._context = context

    def list(self, *, page: int = 1, limit: int = 1000) -> Listing[Label]:
        """List the dynamic labels of the account.

        From "Truecaller for Business: Details of Dynamic Label". The answer does not contain the number of pages, so
        `.total_pages` is None, and a page with fewer labels than `limit` is the last.

        Args:
            page: The first page, from 1.
            limit: The most labels of a page.

        Returns:
            A `Listing`: `await` it for one page, `async for` it for all labels from that page on. Both raise
            `Forbidden` (the key has no access to labels), the other errors of `APIStatusError` and `TransportError`,
            and `DecodeError` with the JSON path, such as `$[1].id`.

        Raises:
            ValidationError: `page` or `limit` is not a whole number from 1.
        """
        build = partial(labels_request, self._context.account, limit=limit)
        build(page=page)

        async def fetch(number: int) -> Page[Label]:
            return await self._context.call(build(page=number), self._read)

        return Listing(ListedKind("labels", fetch, attrgetter("id")), page, limit)

    def _read(self, answer: Answer) -> Page[Label]:
        return read_labels(answer, now=self._context.clock.wall())
