"""Pages of a list: `page` and `limit` as every list of the API takes them, the first page being 1.

What is said of a `page` or a `limit` that is no whole number from 1 is the sandbox's own.
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
    """Which piece of a list is asked for."""

    number: int
    limit: int

    def slice_of(self, items: Sequence[T]) -> Sequence[T]:
        """The items on this page; none beyond the last one."""
        start = (self.number - 1) * self.limit
        return items[start : start + self.limit]

    def page_count(self, count: int) -> int:
        """How many pages so many items fill; none for no items."""
        return -(-count // self.limit)


def page_of(target: RouteTarget, limit: int) -> PageRequest | SandboxResponse:
    """The page that a request asks for, with `limit` items where it does not say how many."""
    asked = {"page": 1, "limit": limit}
    for name in asked:
        text = target.query_value(name)
        if text is None:
            continue
        if not _WHOLE.fullmatch(text):
            return invalid(f"{name} must be a whole number from 1")
        asked[name] = int(text)
    return PageRequest(asked["page"], asked["limit"])
