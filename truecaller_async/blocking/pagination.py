"""The blocking form of a list that comes in pages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

from truecaller_async.blocking.portal import Portal
from truecaller_async.models import Page
from truecaller_async.resources.pagination import Listing as AsyncListing

Item = TypeVar("Item")


class Listing(Generic[Item]):
    """A list that comes in pages. Iterate it for every item from the requested page on.

    Making it sends no request. Each `page()` and each loop requests anew, and raises what the call that made the
    listing raises.
    """

    def __init__(self, portal: Portal, listing: AsyncListing[Item]) -> None:
        self._portal = portal
        self._listing = listing

    def page(self) -> Page[Item]:
        """Request one page: the one that the call named.

        Returns:
            The page.

        Raises:
            TruecallerError: What the call raises.
        """
        return self._portal.run(lambda _: self._listing)

    def pages(self) -> Iterator[Page[Item]]:
        """Request every page from the one that the call named, one at a time.

        Yields:
            Each page that has items.

        Raises:
            TruecallerError: What the call raises. It ends the iteration; call `pages()` again to retry.
        """
        pages = aiter(self._listing.pages())
        while (page := self._portal.run(lambda _: anext(pages, None))) is not None:
            yield page

    def __iter__(self) -> Iterator[Item]:
        for page in self.pages():
            yield from page.items

    def __repr__(self) -> str:
        return f"<blocking {type(self._listing).__name__}; call page(), or use 'for'>"
