"""Define one page of a list."""

from __future__ import annotations

from typing import Generic, TypeVar

import attrs

Item = TypeVar("Item")


@attrs.frozen
class Page(Generic[Item]):
    """One page of a list. From "Truecaller for Business: Number management"."""

    items: tuple[Item, ...] = ()
    """Items of the page, in the order of the server."""
    page: int | None = None
    """Number of the page, from 1: as in the answer, or as requested if the answer does not contain it."""
    total_pages: int | None = None
    """Number of pages, None if the answer does not contain it."""
