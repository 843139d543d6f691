"""One page of a list."""

from __future__ import annotations

from typing import Generic, TypeVar

import attrs

Item = TypeVar("Item")


@attrs.frozen
class Page(Generic[Item]):
    """The items of one page, in the server's order.

    `page` counts from 1: as the answer says it, and as it was asked for where the answer says nothing. `total_pages`
    is how many there are, None where the answer does not say it. From "Truecaller for Business: Number management".
    """

    items: tuple[Item, ...] = ()
    page: int | None = None
    total_pages: int | None = None
