"""Pagination of lists: `page` (from 1) and `limit`.

The error for a value that is not a positive integer is chosen by the sandbox.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TypeVar

import attrs

from truecaller_async.sandbox.answers import SandboxResponse, invalid
from truecaller_async.sandbox.routing import RouteTarget

T = TypeVar("T")

_WHOLE = re.compile(r"[1-9][0-9]{0,8}", re.ASCII)


@attrs.frozen
class PageRequest:
    """Requested page of a list."""

    number: int
    """Page number, from 1."""
    limit: int
    """Items on a page."""

    def slice_of(self, items: Sequence[T]) -> Sequence[T]:
        """Return the items on this page; none beyond the last page."""
        start = (self.number - 1) * self.limit
        return items[start : start + self.limit]

    def page_count(self, count: int) -> int:
        """Return the number of pages for `count` items; 0 for no items."""
        return -(-count // self.limit)


def page_of(target: RouteTarget, limit: int) -> PageRequest | SandboxResponse:
    """Return the requested page, or a 400 answer; `limit` is the default page size."""
    values = {"page": 1, "limit": limit}
    for name in values:
        text = target.query_value(name)
        if text is None:
            continue
        if not _WHOLE.fullmatch(text):
            return invalid(f"{name} must be a whole number from 1")
        values[name] = int(text)
    return PageRequest(values["page"], values["limit"])
