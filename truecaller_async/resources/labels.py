"""Dynamic labels: the names and logos that call records may show. They are made in the console; here they are read."""

from __future__ import annotations

from functools import partial
from operator import attrgetter

from truecaller_async.models import Answer, Label, Page
from truecaller_async.protocol.requests import labels_request
from truecaller_async.protocol.responses import read_labels
from truecaller_async.resources.api_context import ApiContext
from truecaller_async.resources.pagination import Listed, Listing


class Labels:
    """`client.labels`: the dynamic labels that call records may name. They are made in the console."""

    def __init__(self, service: ApiContext) -> None:
        self._service = service

    def list(self, *, page: int = 1, limit: int = 1000) -> Listing[Label]:
        """The dynamic labels of the account. From "Truecaller for Business: Details of Dynamic Label".

        `await` it for one page of at most `limit` labels, `async for` it for every label from that page on. The answer
        does not say how many pages there are, so `.total_pages` is None and a page with fewer labels than `limit` is
        the last.

        Raises `ValidationError` at once where `page` or `limit` is not a whole number from 1. Awaited or iterated it
        raises `Forbidden` (the key has no access to labels), the other errors of `APIStatusError` and
        `TransportError`, and `DecodeError` with the place in the answer, such as `$[1].id`.
        """
        build = partial(labels_request, self._service.account, limit=limit)
        build(page=page)

        async def fetch(number: int) -> Page[Label]:
            return await self._service.call(build(page=number), self._read)

        return Listing(Listed("labels", fetch, attrgetter("id")), page, limit)

    def _read(self, answer: Answer) -> Page[Label]:
        return read_labels(answer, now=self._service.clock.wall())
