"""One page of a list."""

from __future__ import annotations

from typing import Generic, TypeVar

import attrs

Item = TypeVar("Item")


@attrs.frozen
class Page(Generic[Item]):
    """The items of one page, in the server's order.

    `page` counts from 1 and `total_pages` is how many there are; each is None where the answer does not say it.
    From "Truecaller for Business: Number management".
    """

    items: tuple[Item, ...] = ()
    page: int | None = None
    total_pages: int | None = None
