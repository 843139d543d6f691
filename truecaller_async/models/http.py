"""Define an HTTP request and an HTTP answer as values.

`protocol` builds requests and reads answers; `transport` sends and receives them.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from truecaller_async.models.secret import Secret


@attrs.frozen(repr=False)
class Request:
    """One HTTP request without host."""

    call: str
    """Name of the request in limits, logs and counters.

    One of "push", "submit", "status", "labels", "numbers", "feature_sets", "exports" and "mint".
    """
    method: str
    """HTTP method in upper case."""
    path: str
    """Percent-encoded path with query."""
    body: bytes | None = None
    """Body, or None."""
    headers: Mapping[str, str] = attrs.field(factory=dict)
    """Headers without authorization."""
    token: Secret | None = None
    """Access token to authorize the request with, or None."""
    body_max_bytes: int = 64 * 1024
    """Maximum size of the body of the answer, in bytes after decompression."""

    def with_token(self, token: Secret) -> Request:
        """Return a copy of the request with a token."""
        return Request(self.call, self.method, self.path, self.body, self.headers, token, self.body_max_bytes)

    @property
    def is_read(self) -> bool:
        """Return whether the request only reads, so that it can be repeated."""
        return self.method == "GET"

    def __repr__(self) -> str:
        return f"Request({self.call} {self.method}, {len(self.body or b'')} bytes)"


@attrs.frozen(repr=False)
class Answer:
    """One complete HTTP answer."""

    status: int
    """HTTP status code."""
    headers: Mapping[str, str]
    """Headers, with names in lower case."""
    body: bytes
    """Body after decompression."""
    headers_at: float | None = None
    """Loop time at which the headers arrived, in seconds; None if the transport does not tell."""

    def __repr__(self) -> str:
        return f"Answer({self.status}, {len(self.body)} bytes)"
