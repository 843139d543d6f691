"""A request and an answer as values: what `protocol` builds and reads, and what `transport` carries.

`call` is the name by which limits, logs and counters know a request: "push", "submit", "status", "labels",
"numbers", "feature_sets", "exports" or "mint". Header names of an answer are lower case.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from truecaller_async.models.secret import Secret


@attrs.frozen(repr=False)
class Request:
    """One HTTP request without host: `path` is already percent-encoded and includes the query."""

    call: str
    method: str
    path: str
    body: bytes | None = None
    headers: Mapping[str, str] = attrs.field(factory=dict)
    token: Secret | None = None
    body_max_bytes: int = 64 * 1024
    """Bytes of answer that are read at most, after decompression."""

    def with_token(self, token: Secret) -> Request:
        """The same request, made with this token."""
        return Request(self.call, self.method, self.path, self.body, self.headers, token, self.body_max_bytes)

    @property
    def is_read(self) -> bool:
        """Whether repeating it is harmless."""
        return self.method == "GET"

    def __repr__(self) -> str:
        return f"Request({self.call} {self.method}, {len(self.body or b'')} bytes)"


@attrs.frozen(repr=False)
class Answer:
    """One complete HTTP answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def __repr__(self) -> str:
        return f"Answer({self.status}, {len(self.body)} bytes)"
