"""Keep enough tokens for the work of a run, and record what the answers say about them.

Algorithm:
    - The first token is requested when there is work. Another one is requested if the queued batches would keep the
      live tokens busy for more than 1 second, or if the intake has read ahead. It is not requested while the breaker
      is open, or before a request with the first token has succeeded.
    - One request at a time; after a failed one none for 1 to 60 seconds.
Failure modes:
    - The token store fails: nothing is claimed for 1 to 8 seconds (`StorePause`).
    - The server refuses fresh tokens: the pool waits 30 s before it requests another one. The run waits, as in an
      outage, and fails if that goes on for the `total` of the retry policy.
"""

from __future__ import annotations

import asyncio
from datetime import datetime

from truecaller_async.campaign.run import Run
from truecaller_async.cancellation import cancelled_from_outside
from truecaller_async.errors import (
    AuthenticationFailed,
    ConfigError,
    Forbidden,
    RateLimited,
    ResponseLost,
    ServerError,
    TokenBudgetExhausted,
    TruecallerError,
)
from truecaller_async.resilience.backoff import cooldown_seconds
from truecaller_async.resilience.rate_law import calls_per_second
from truecaller_async.tokens.pool import BACKLOG_PER_TOKEN_SECONDS

RETRY_SECONDS = 1.0
"""Pause after a failed token request, if no token is live."""
RETRY_WITH_TOKENS_SECONDS = 30.0
"""Pause after a failed token request, if other tokens are live."""
STORE_PAUSE_MAX_SECONDS = 8.0
"""Longest pause after an error of the token store."""
WAITING_EVENT_INTERVAL_SECONDS = 60.0
"""Longest time between two events that report an exhausted token budget."""


class StorePause:
    """Pauses the claims of one run while the token store cannot be used: 1, 2, 4, 8 seconds.

    If it fails for the `total` of the retry policy, the run fails.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._failing_since: float | None = None
        self._failures = 0
        self.until = float("-inf")
        """Loop time before which nothing is claimed and no token is requested."""

    def record_failure(self, error: TruecallerError) -> None:
        """Begin a pause, unless one has begun already; fail the run if the store has failed for too long."""
        now = self._run.now()
        if now < self.until:
            return
        if self._failing_since is None:
            self._failing_since = now
        elif now - self._failing_since >= self._run.deps.retry.total:
            self._run.lifecycle.fail(error)
        self.until = now + min(2.0**self._failures, STORE_PAUSE_MAX_SECONDS)
        self._failures += 1

    def record_success(self) -> None:
        """End the pause: the store works again."""
        if self._failing_since is not None:
            self._failing_since, self._failures = None, 0


class TokenUse:
    """The tokens of one run."""

    def __init__(self, run: Run, pause: StorePause) -> None:
        self._run = run
        self._pause = pause
        self._pool = run.deps.pool
        self._growth: asyncio.Task[None] | None = None
        self._refused_since: float | None = None
        self.live_count = 0
        """Number of live tokens, at most one second ago."""
        self.no_growth_before = float("-inf")
        """Loop time before which no token is requested."""
        self.read_ahead_is_full = False
        """Whether more batches are queued than the read-ahead target of the intake."""
        self.waiting_until: datetime | None = None
        """Time at which a token may be requested again, while the run has no token."""

    def accepted(self, token_id: str) -> None:
        """Record that the server accepted a request with this token."""
        self._refused_since = None
        self._pool.record_success(token_id)

    def throttled(self, token_id: str, error: RateLimited) -> None:
        """Put a token into cool-down after a 429."""
        times = self._pool.record_throttled(token_id)
        self._pool.start_cooldown(token_id, cooldown_seconds(error.retry_after, times, self._run.deps.rng))

    async def refused(self, token_id: str, error: AuthenticationFailed) -> None:
        """Discard a token that the server refused."""
        try:
            await self._pool.discard(token_id, error)
        except ConfigError as failure:  # the token is no longer used, but it is still in the store
            self._pause.record_failure(failure)
        if (refusal := self._pool.fatal_error) is not None:
            self._count_refusal(refusal)

    def consider_growth(self) -> None:
        """Request one more token in a task of its own, if the work needs one and no request is in progress."""
        live = self.count_live()
        if self._growth is None and self._wants_token(live):
            self._growth = asyncio.get_running_loop().create_task(self._grow())

    def count_live(self) -> int:
        """Return the number of live tokens; start a renewal that is due."""
        self.live_count = live = len(self._pool.live())
        self._run.progress.peak_tokens = max(self._run.progress.peak_tokens, live)
        return live

    def close(self) -> None:
        """Stop to wait for a token. The pool completes a request in progress for later callers."""
        if self._growth is not None:
            self._growth.cancel()

    def _wants_token(self, live: int) -> bool:
        run = self._run
        if (
            run.now() < max(self.no_growth_before, self._pool.refused_until, self._pause.until)
            or live >= self._pool.max_tokens
        ):
            return False
        if live == 0:
            return run.queue.waiting_count > 0 or run.queue.accepted_count > 0
        if run.deps.guard.is_open or not self._pool.account_verified or not run.lifecycle.is_running:
            return False
        if self._refused_since is not None:  # one token shows whether the credentials are accepted again
            return False
        capacity = live * calls_per_second(self._pool.limits, "submit")
        return self.read_ahead_is_full or run.queue.submits_waiting > capacity * BACKLOG_PER_TOKEN_SECONDS

    async def _grow(self) -> None:
        run = self._run
        try:
            with cancelled_from_outside("the transport or the token store"):
                await self._pool.grow()
            self._pause.record_success()
            self.count_live()
            self.waiting_until = None
        except TokenBudgetExhausted as error:
            wait = error.retry_at.timestamp() - run.deps.clock.wall()
            self.no_growth_before = run.now() + min(max(wait, RETRY_SECONDS), WAITING_EVENT_INTERVAL_SECONDS)
            if not self._pool.live():
                self.waiting_until = error.retry_at
                run.deps.observer.event(
                    "token_budget.exhausted", {"retry_at": error.retry_at.isoformat(timespec="seconds")}
                )
        except ConfigError as error:
            self._pause.record_failure(error)
        except TruecallerError as error:
            self.no_growth_before = run.now() + (RETRY_WITH_TOKENS_SECONDS if self._pool.live() else RETRY_SECONDS)
            self._mint_failed(error)
        except Exception as defect:  # noqa: BLE001 - the run ends in good order, whatever failed
            run.lifecycle.fail(defect)
        finally:
            self._growth = None
        run.lifecycle.on_change()

    def _mint_failed(self, error: TruecallerError) -> None:
        run = self._run
        if isinstance(error, AuthenticationFailed) and (
            self._pool.account_verified or run.progress.token_requests().succeeded
        ):
            # The credentials made a token before: the server may refuse them for a moment only.
            self._count_refusal(error)
            return
        cannot_start = not self._pool.live() and not run.progress.server_reached and not self._may_recover(error)
        if cannot_start or isinstance(error, AuthenticationFailed | Forbidden):
            run.lifecycle.fail(error)

    def _count_refusal(self, error: AuthenticationFailed) -> None:
        now = self._run.now()
        self._refused_since = now if self._refused_since is None else self._refused_since
        if now - self._refused_since >= self._run.deps.retry.total:
            self._run.lifecycle.fail(error)

    def _may_recover(self, error: TruecallerError) -> bool:
        """Return whether the error may be temporary: 5xx or lost answer, run younger than `retry.total` s."""
        run = self._run
        return isinstance(error, ServerError | ResponseLost) and run.progress.elapsed < run.deps.retry.total
