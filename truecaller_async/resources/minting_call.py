"""Request a new token; each request uses one of the 10 token requests that are allowed in 30 minutes.

Algorithm:
    - not sent: the claim is refunded, and the request is repeated after a backoff;
    - 5xx, or a lost answer: a token may have been created, so at most one more request follows;
    - another error, or an error of the claim, ends the call.
"""

from __future__ import annotations

from truecaller_async.clock import Clock, loop_time
from truecaller_async.errors import NotSent, ResponseLost, ServerError, TruecallerError
from truecaller_async.models import Answer, Secret
from truecaller_async.protocol.requests import mint_request
from truecaller_async.protocol.responses import read_mint
from truecaller_async.resilience.service_guard import Grant
from truecaller_async.resources.executor import ClientSettings, RequestExecutor
from truecaller_async.resources.retry import NextAttempt, Retries, call_with_retries
from truecaller_async.tokens import MintBudgetClaim


class MintingCall:
    """Request for one new token, with retries. Each request is claimed before it is sent."""

    def __init__(
        self, executor: RequestExecutor, settings: ClientSettings, clock: Clock, claim: MintBudgetClaim
    ) -> None:
        self._executor = executor
        self._settings = settings
        self._clock = clock
        self._claim = claim
        self._request = mint_request(settings.credentials)
        self._retries = Retries(settings.retry, executor.rng)

    async def run(self) -> Secret:
        """Return the new token, or raise the error of the last request."""
        return await call_with_retries(self._retries, self._acquire, self._send, self._after_failure)

    async def _acquire(self) -> Grant:
        while True:
            # A failed probe costs a claim, so probe only if no token is live and requests wait for one.
            await self._executor.wait_for_guard(self._retries, may_probe=self._claim.is_urgent)
            # Claim before the grant: the claim may wait for the budget, and a grant must not stay unused meanwhile.
            await self._claim.claim()
            grant = self._executor.guard.try_acquire(loop_time(), is_retry=self._retries.is_retry)
            if grant is not None:
                return grant
            await self._claim.refund()

    async def _send(self, grant: Grant) -> Secret:
        attempt = self._executor.attempt(self._request, None, self._settings.timeouts, self._decode)
        return await self._executor.send_with_grant(grant, attempt)

    async def _after_failure(self, _: Grant, error: TruecallerError) -> NextAttempt:
        if isinstance(error, NotSent):
            await self._claim.refund()
            return NextAttempt.AFTER_BACKOFF if error.retryable else NextAttempt.NONE
        if isinstance(error, ServerError | ResponseLost) and not self._claim.is_exhausted:
            return NextAttempt.AFTER_BACKOFF
        return NextAttempt.NONE

    def _decode(self, answer: Answer) -> Secret:
        return read_mint(answer, now=self._clock.wall())
