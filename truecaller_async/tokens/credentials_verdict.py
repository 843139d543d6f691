"""Decide from refused tokens whether the server refuses the credentials, and for how long.

Algorithm:
    - A refused token may have been revoked. Two refusals in a row of tokens that this process minted less than 60 s
      before say that no token can help.
    - Refusals of tokens that were made before the first refusal count once: the server may have refused all tokens for
      a moment, and a token made after it may be accepted.
    - The verdict expires after 30 s. The next refusal of a token made after it renews it.
"""

from __future__ import annotations

from truecaller_async.errors import AuthenticationFailed

FRESH_REFUSALS_MAX = 2
"""Refusals in a row of fresh tokens after which the credentials count as refused."""

VERDICT_SECONDS = 30.0
"""How long the verdict holds. Then one more token may be minted."""


class CredentialsVerdict:
    """The refusals of one pool. Times are on the clock of the event loop."""

    def __init__(self) -> None:
        self._refusals = 0
        self._last_refused_at = float("-inf")
        self._error: AuthenticationFailed | None = None
        self.refused_until = float("-inf")
        """The time until which the credentials count as refused; minus infinity if they do not."""

    def error(self, now: float) -> AuthenticationFailed | None:
        """Return the refusal while the verdict holds."""
        return self._error if now < self.refused_until else None

    def record_refusal(self, minted_at: float, now: float, error: AuthenticationFailed) -> None:
        """Record that the server refused a fresh token that was minted at `minted_at`."""
        if minted_at <= self._last_refused_at:
            return
        self._refusals += 1
        self._last_refused_at = now
        if self._refusals >= FRESH_REFUSALS_MAX:
            self._error, self.refused_until = error, now + VERDICT_SECONDS

    def record_success(self) -> bool:
        """Record that the server accepted a token; return whether this ends the verdict."""
        was_refused = self._error is not None
        self._refusals, self._error = 0, None
        self._last_refused_at = self.refused_until = float("-inf")
        return was_refused
