"""A list that comes in pages, as one object.

    page = await client.labels.list()               one page
    async for label in client.labels.list(): ...    every item from that page on
    async for page in client.labels.list().pages(): ...

A `Listing` is a recipe: making it checks the arguments and asks nothing; each `await` and each loop asks anew. A loop
holds one page at a time and owns no task, so that it may be left anywhere.

Where does it end? An answer that says how many pages there are is believed, unless it says none and has items; else a
page shorter than the limit is the last; else the first empty one. An empty page ends it always. A loop that was broken
by an error, or cancelled while it waited, has not ended: its next step asks for the same page again.

A server that ignores the page number would give the same page for ever. So two pages in a row that came before are a
`DecodeError`, and so is one that is the last. A single one in the middle is passed over: where as many items as a page
has were added in between, they pushed a whole page over to the next number. Pages are compared by the digest of their
items' ids: single items may well come twice, for the same reason.
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
class Listed(Generic[Item]):
    """How one kind of thing is listed: its name, the fetching of a page by its number, and what tells items apart."""

    name: str
    fetch: Callable[[int], Awaitable[Page[Item]]]
    identity: Callable[[Item], object]


class Listing(Generic[Item]):
    """Awaited, the page asked for; iterated, every item from that page on.

    Raises what the call raises, when awaited or iterated, and `DecodeError` where the server repeats its pages.
    """

    def __init__(self, listed: Listed[Item], page: int, limit: int | None) -> None:
        self._listed = listed
        self._page = page
        self._limit = limit

    def __await__(self) -> Generator[Any, None, Page[Item]]:
        return _fetch(self._listed, self._page).__await__()

    def __aiter__(self) -> AsyncIterator[Item]:
        return _Items(self.pages())

    def pages(self) -> AsyncIterator[Page[Item]]:
        """Every page from the one asked for on; a page without items is not among them."""
        return _Pages(self._listed, self._page, self._limit)

    def __repr__(self) -> str:
        limit = f" with at most {self._limit} a page" if self._limit is not None else ""
        return f"<Listing of {self._listed.name} from page {self._page}{limit}; await it, or use 'async for'>"


class _Pages(Generic[Item]):
    """One loop over the pages. `_number` is the page to ask for next, None after the last."""

    def __init__(self, listed: Listed[Item], number: int, limit: int | None) -> None:
        self._listed = listed
        self._number: int | None = number
        self._limit = limit
        self._seen: set[bytes] = set()
        self._passed_over = False

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
        """Whether the page did not come before. Raises `DecodeError` where that cannot be a change of the list."""
        digest = _digest(self._listed.identity(item) for item in page.items)
        if digest not in self._seen:
            self._seen.add(digest)
            self._passed_over = False
            return True
        if is_last or self._passed_over:
            raise DecodeError(
                f"the server repeats a page: page {number} of the {self._listed.name} has the items of an earlier one; "
                "what came before is right, and whether there is more is not known"
            )
        self._passed_over = True
        return False

    def _is_last(self, page: Page[Item], number: int) -> bool:
        if not page.items:
            return True
        if page.total_pages is not None and page.total_pages > 0:
            return number >= page.total_pages
        return self._limit is not None and len(page.items) < self._limit


class _Items(Generic[Item]):
    """One loop over the items of the pages."""

    def __init__(self, pages: AsyncIterator[Page[Item]]) -> None:
        self._pages = pages
        self._hand: Iterator[Item] = iter(())

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Item:
        for item in self._hand:
            return item
        self._hand = iter((await anext(self._pages)).items)
        return next(self._hand)


async def _fetch(listed: Listed[Item], number: int) -> Page[Item]:
    page = await listed.fetch(number)
    return page if page.page is not None else attrs.evolve(page, page=number)


def _digest(identities: Iterable[object]) -> bytes:
    """The same for the same items in any order."""
    return hashlib.sha256("\n".join(sorted(map(repr, identities))).encode("utf-8", "surrogatepass")).digest()
