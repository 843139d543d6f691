"""An access token as the pool knows it.

`token_id` is a short hash that may be logged and stored; the token itself is a `Secret`. `born` and `expires` are
wall-clock seconds since the epoch, counted from local receipt, because a store must outlive the process.
`idle_since` is the instant at which its last process gave it up in good order; None means it is in use, or nobody
knows.
"""

from __future__ import annotations

import attrs

from truecaller_async.models.secret import Secret


@attrs.frozen
class Token:
    """A live token. From "Truecaller for Business: Generate Access Token"."""

    token_id: str
    secret: Secret
    born: float
    expires: float
    idle_since: float | None = None
