"""Listings: one page or all items, repeatable, and always finite."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Sequence

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from truecaller_async.errors import DecodeError, Forbidden
from truecaller_async.models import Page
from truecaller_async.resources import Listing
from truecaller_async.resources.pagination import ListedKind


@attrs.define
class Server:
    """A server whose page n is `page_of(n)`. It records the requested numbers."""

    page_of: Callable[[int], Page[str]]
    requested: list[int] = attrs.field(factory=list)

    async def fetch(self, number: int) -> Page[str]:
        self.requested.append(number)
        await asyncio.sleep(0)
        return self.page_of(number)

    def listing(self, page: int = 1, limit: int | None = None) -> Listing[str]:
        return Listing(ListedKind("things", self.fetch, str.upper), page, limit)


def serving(items: Sequence[str], size: int, *, total: bool = False) -> Server:
    """Make a server with these items in pages of this size. `total`: its answers have the number of pages."""
    pages = [tuple(items[start : start + size]) for start in range(0, len(items), size)]

    def page_of(number: int) -> Page[str]:
        found = pages[number - 1] if number <= len(pages) else ()
        return Page(found, total_pages=len(pages) if total else None)

    return Server(page_of)


async def items_of(listing: Listing[str]) -> list[str]:
    return [item async for item in listing]


async def collect_into(got: list[str], listing: Listing[str]) -> None:
    async for item in listing:
        got.append(item)  # noqa: PERF401 - one by one, because the loop raises


async def test_creating_a_listing_sends_nothing() -> None:
    server = serving("abc", 2)
    listing = server.listing()
    assert repr(listing) == "<Listing of things from page 1; await it, or use 'async for'>"
    assert "page 3 with at most 7 a page" in repr(server.listing(3, 7))
    await asyncio.sleep(0)
    assert server.requested == []


async def test_awaiting_a_listing_requests_its_page_each_time() -> None:
    server = serving("abcde", 2)
    listing = server.listing(2)
    assert await listing == await listing == Page(("c", "d"), page=2)
    assert server.requested == [2, 2]


async def test_server_page_information_is_kept() -> None:
    assert (await Server(lambda _: Page(("a",), page=7, total_pages=9)).listing()).page == 7


async def test_iterating_a_listing_yields_every_item_each_time() -> None:
    server = serving("abcde", 2, total=True)
    listing = server.listing()
    assert await items_of(listing) == await items_of(listing) == list("abcde")
    assert server.requested == [1, 2, 3, 1, 2, 3]


async def test_two_loops_over_one_listing_do_not_disturb_each_other() -> None:
    listing = serving("abcde", 1, total=True).listing()
    both = await asyncio.gather(items_of(listing), items_of(listing))
    assert list(both) == [list("abcde")] * 2


async def test_listing_yields_pages() -> None:
    pages = [page async for page in serving("abcde", 2).listing().pages()]
    assert [(page.page, page.items) for page in pages] == [(1, ("a", "b")), (2, ("c", "d")), (3, ("e",))]


@given(
    items=st.lists(st.text("abcdef", min_size=1), unique_by=str.upper, max_size=30),
    size=st.integers(1, 8),
    start=st.integers(1, 6),
    total=st.booleans(),
    limited=st.booleans(),
)
async def test_every_item_from_the_page_on_comes_once(
    items: list[str], size: int, start: int, total: bool, limited: bool
) -> None:
    server = serving(items, size, total=total)
    assert await items_of(server.listing(start, size if limited else None)) == items[(start - 1) * size :]


@pytest.mark.parametrize(
    ("total", "limit", "requested"),
    [(True, None, [1, 2]), (True, 2, [1, 2]), (False, 2, [1, 2, 3]), (False, None, [1, 2, 3]), (False, 3, [1])],
)
async def test_listing_stops_at_total_then_short_page_then_empty_page(
    total: bool, limit: int | None, requested: list[int]
) -> None:
    server = serving("abcd", 2, total=total)
    await items_of(server.listing(limit=limit))
    assert server.requested == requested


async def test_empty_page_ends_the_listing_whatever_the_total_is() -> None:
    server = Server(lambda number: Page(("a",) if number == 1 else (), total_pages=10**12))
    assert await items_of(server.listing()) == ["a"]
    assert server.requested == [1, 2]


async def test_loop_left_early_sends_no_more_requests() -> None:
    server = serving("abcdef", 2)
    async for _ in server.listing():
        break
    assert server.requested == [1]


@pytest.mark.parametrize("total", [None, 100])
async def test_server_that_ignores_the_page_number_is_detected(total: int | None) -> None:
    server = Server(lambda _: Page(("a", "b"), total_pages=total))
    got: list[str] = []
    with pytest.raises(DecodeError, match=r"repeats a page: page 3 of the things") as caught:
        await collect_into(got, server.listing(limit=2))
    assert (got, server.requested, caught.value.sent) == (["a", "b"], [1, 2, 3], "yes")


async def test_repeated_last_page_is_detected_at_once() -> None:
    server = Server(lambda _: Page(("a", "b"), total_pages=2))
    with pytest.raises(DecodeError, match="page 2 of the things"):
        await items_of(server.listing())
    assert server.requested == [1, 2]


@pytest.mark.parametrize("with_total", [True, False])
async def test_list_growing_by_a_page_during_reading_loses_and_repeats_nothing(with_total: bool) -> None:
    old = [("a", "b"), ("c", "d"), ("e",)]

    def page_of(number: int) -> Page[str]:
        pages = old if number == 1 else [("y", "z"), *old]
        return Page(pages[number - 1], total_pages=len(pages) if with_total else None)

    server = Server(page_of)
    assert await items_of(server.listing(limit=2)) == list("abcde")
    assert server.requested == [1, 2, 3, 4]


async def test_zero_total_beside_items_is_ignored() -> None:
    pages = {1: ("a", "b"), 2: ("c",), 3: ()}
    for wrong in (0, -1):
        server = Server(lambda number, wrong=wrong: Page(pages[number], total_pages=wrong))  # type: ignore[misc]
        assert await items_of(server.listing()) == ["a", "b", "c"]


async def test_failed_or_cancelled_step_can_be_repeated() -> None:
    failures: list[BaseException] = [Forbidden(403), asyncio.CancelledError()]

    def page_of(number: int) -> Page[str]:
        if number == 2 and failures:
            raise failures.pop()
        return Page((str(number),), total_pages=3)

    items = aiter(Server(page_of).listing())
    assert await anext(items) == "1"
    with pytest.raises(asyncio.CancelledError):
        await anext(items)
    with pytest.raises(Forbidden):
        await anext(items)
    assert [item async for item in items] == ["2", "3"]


async def test_page_cycles_and_reordered_pages_are_detected() -> None:
    cycle = itertools.cycle([("a", "b"), ("c", "d"), ("b", "a")])
    server = Server(lambda _: Page(next(cycle)))
    with pytest.raises(DecodeError, match="page 4"):
        await items_of(server.listing())


async def test_item_moved_to_the_next_page_is_no_repetition() -> None:
    pages = {1: ("a", "b"), 2: ("b", "c"), 3: ()}
    assert await items_of(Server(lambda number: Page(pages[number])).listing(limit=2)) == ["a", "b", "b", "c"]


async def test_error_is_raised_when_awaited_and_earlier_items_are_kept() -> None:
    def page_of(number: int) -> Page[str]:
        if number == 2:
            raise Forbidden(403)
        return Page(("a",))

    listing = Server(page_of).listing()
    got: list[str] = []
    with pytest.raises(Forbidden):
        await collect_into(got, listing)
    assert got == ["a"]
