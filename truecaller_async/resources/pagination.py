"""Iterate a list that the server returns in pages.

    page = await client.labels.list()               one page
    async for label in client.labels.list(): ...    all items from that page on
    async for page in client.labels.list().pages(): ...

Algorithm:
    - Making a `Listing` checks the arguments and sends nothing. Each `await` and each loop requests anew.
    - A loop keeps one page at a time and has no task, so it may be left at any point.
    - The last page is: the page with the number `total_pages` of the answer (ignored if it is 0 and the page has
      items); without that, a page shorter than the limit; without a limit, the first empty page. An empty page always
      ends the loop.
Failure modes:
    - An error or a cancellation does not end a loop: its next step requests the same page again.
    - A server that ignores the page number always returns the same page. So two repeated pages in a row, or a
      repeated last page, raise `DecodeError`. A single repeated page in the middle is skipped: a page of items may have
      been added meanwhile. Pages are compared by a digest of the identities of their items.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterable, Iterator
from typing import Any, Generic, Self, TypeVar

import attrs

from truecaller_async.errors import DecodeError
from truecaller_async.models import Page

Item = TypeVar("Item")


@attrs.frozen
class ListedKind(Generic[Item]):
    """One kind of item that can be listed."""

    name: str
    """The plural for messages, such as "labels"."""

    fetch: Callable[[int], Awaitable[Page[Item]]]
    """Requests the page with this number."""

    identity: Callable[[Item], object]
    """Returns a value that identifies an item."""


class Listing(Generic[Item]):
    """A list that comes in pages: `await` it for one page, `async for` it for all items from that page on.

    Both raise what the call that made the listing raises, and `DecodeError` if the server repeats its pages.
    """

    def __init__(self, listed: ListedKind[Item], page: int, limit: int | None) -> None:
        self._listed = listed
        self._page = page
        self._limit = limit

    def __await__(self) -> Generator[Any, None, Page[Item]]:
        return _fetch(self._listed, self._page).__await__()

    def __aiter__(self) -> AsyncIterator[Item]:
        return _Items(self.pages())

    def pages(self) -> AsyncIterator[Page[Item]]:
        """Return an iterator over the pages from the requested one on. A page without items is skipped."""
        return _Pages(self._listed, self._page, self._limit)

    def __repr__(self) -> str:
        limit = f" with at most {self._limit} a page" if self._limit is not None else ""
        return f"<Listing of {self._listed.name} from page {self._page}{limit}; await it, or use 'async for'>"


class _Pages(Generic[Item]):
    """One loop over the pages. `_number` is the next page; None after the last."""

    def __init__(self, listed: ListedKind[Item], number: int, limit: int | None) -> None:
        self._listed = listed
        self._number: int | None = number
        self._limit = limit
        self._seen: set[bytes] = set()
        self._skipped_one = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Page[Item]:
        while self._number is not None:
            number = self._number
            page = await _fetch(self._listed, number)
            is_last = self._is_last(page, number)
            is_new = not page.items or self._is_new(page, number, is_last)
            self._number = None if is_last else number + 1
            if page.items and is_new:
                return page
        raise StopAsyncIteration

    def _is_new(self, page: Page[Item], number: int, is_last: bool) -> bool:
        """Return whether the page is new. Raises `DecodeError` if the server repeats its pages."""
        digest = _digest(self._listed.identity(item) for item in page.items)
        if digest not in self._seen:
            self._seen.add(digest)
            self._skipped_one = False
            return True
        if is_last or self._skipped_one:
            raise DecodeError(
                f"the server repeats a page: page {number} of the {self._listed.name} has the items of an earlier one. "
                "The items before are correct; whether there are more is unknown"
            )
        self._skipped_one = True
        return False

    def _is_last(self, page: Page[Item], number: int) -> bool:
        if not page.items:
            return True
        if page.total_pages is not None and page.total_pages > 0:
            return number >= page.total_pages
        return self._limit is not None and len(page.items) < self._limit


class _Items(Generic[Item]):
    """One loop over the items of all pages."""

    def __init__(self, pages: AsyncIterator[Page[Item]]) -> None:
        self._pages = pages
        self._items: Iterator[Item] = iter(())

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Item:
        for item in self._items:
            return item
        self._items = iter((await anext(self._pages)).items)
        return next(self._items)


async def _fetch(listed: ListedKind[Item], number: int) -> Page[Item]:
    page = await listed.fetch(number)
    return page if page.page is not None else attrs.evolve(page, page=number)


def _digest(identities: Iterable[object]) -> bytes:
    """Return a digest that does not depend on the order of the items."""
    return hashlib.sha256("\n".join(sorted(map(repr, identities))).encode("utf-8", "surrogatepass")).digest()
