"""Client of TrustCaller: one account and its calls.

Invariants:
    - The constructor does no I/O and needs no event loop. The first request opens the session, and the client belongs
      to that loop from then on.
Failure modes:
    - Use in another loop, after `fork` or after `aclose` raises `ClientClosed`.
"""

from __future__ import annotations

import os
import re
import ssl as ssl_module
from collections.abc import Mapping
from random import Random
from types import TracebackType
from typing import NoReturn, Self

import aiohttp

from truecaller_async.clock import Clock
from truecaller_async.errors import ConfigError
from truecaller_async.models import Secret
from truecaller_async.options import Limits, RetryPolicy, Timeouts
from truecaller_async.ports import Observer
from truecaller_async.settings import checked_kind, checked_url, secret_in
from truecaller_async.telemetry import LoggingObserver
from truecaller_async.transport import AiohttpTransport
from truecaller_async.trustcaller.calls import TrustCallerCalls
from truecaller_async.trustcaller.keys import TrustCallerKeys
from truecaller_async.trustcaller.numbers import TrustCallerNumbers, TrustCallerTestNumbers
from truecaller_async.trustcaller.requester import (
    DOCUMENTED_LIMITS,
    PATIENT_RETRY,
    RequesterEnvironment,
    RequestSettings,
    TrustCallerRequester,
)

BASE_URL = "https://trustcaller.net/api/v1"
"""The only address in "TrustCaller API: Introduction"."""

TOKEN_VARIABLE = "TRUSTCALLER_TOKEN"  # noqa: S105 - the name of a variable
TOKEN_FORM = re.compile(r"[!-~]{1,4096}", re.ASCII)


class TrustCallerClient:
    """Asynchronous client of the TrustCaller API.

    The constructor does no I/O.

    Args:
        token: Token from the dashboard or from `keys.create`.
        base_url: Base address; https, except on the local machine.
        limits: Rate limits, counted by this client; 60 requests in 60 seconds by default.
        retry: Retry policy, in seconds.
        timeouts: Timeouts, in seconds.
        session: aiohttp session to use. The client does not close it.
        proxy: HTTP proxy.
        ssl: TLS settings.
        user_agent: Header `User-Agent`.
        observer: Receives an event for each request.

    Raises:
        ConfigError: An argument has the wrong type or form.
    """

    def __init__(
        self,
        *,
        token: str | Secret,
        base_url: str = BASE_URL,
        limits: Limits | None = None,
        retry: RetryPolicy | None = None,
        timeouts: Timeouts | None = None,
        session: aiohttp.ClientSession | None = None,
        proxy: str | None = None,
        ssl: ssl_module.SSLContext | None = None,
        user_agent: str | None = None,
        observer: Observer | None = None,
    ) -> None:
        token = token if isinstance(token, Secret) else Secret(token)  # from here on no traceback shows the token
        request_settings = RequestSettings(
            _checked_token(token),
            checked_kind("limits", limits, Limits, lambda: DOCUMENTED_LIMITS),
            checked_kind("retry", retry, RetryPolicy, lambda: PATIENT_RETRY),
            checked_kind("timeouts", timeouts, Timeouts, Timeouts),
        )
        transport = AiohttpTransport(
            checked_url(base_url), session=session, proxy=proxy, ssl=ssl, user_agent=user_agent
        )
        environment = RequesterEnvironment(Clock(), Random(), observer or LoggingObserver())  # noqa: S311 - jitter is no secret
        self._attach_resources(TrustCallerRequester(transport, request_settings, environment))

    def _attach_resources(self, requester: TrustCallerRequester) -> None:
        self._requester = requester
        self.numbers = TrustCallerNumbers(requester)
        self.test_numbers = TrustCallerTestNumbers(requester)
        self.calls = TrustCallerCalls(requester)
        self.keys = TrustCallerKeys(requester)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, **overrides: object) -> Self:
        """Create a client from environment variables. Keyword arguments of the constructor override them.

        Args:
            environ: The variables; `os.environ` if None. Used are TRUSTCALLER_TOKEN, or TRUSTCALLER_TOKEN_FILE (path of
                a file that contains the token), and TRUSTCALLER_BASE_URL.
            overrides: Arguments of the constructor.

        Returns:
            The client.

        Raises:
            ConfigError: A variable is missing or has the wrong form. The message names it.
        """
        found = os.environ if environ is None else environ
        settings: dict[str, object] = {}
        if "token" not in overrides:
            settings["token"] = secret_in(found, TOKEN_VARIABLE)
            if settings["token"] is None:
                raise ConfigError(
                    f"{TOKEN_VARIABLE} is not set: the client has no token. Set it, or set {TOKEN_VARIABLE}_FILE to "
                    "the path of a file that contains the token"
                )
        if found.get("TRUSTCALLER_BASE_URL"):
            settings["base_url"] = found["TRUSTCALLER_BASE_URL"]
        return cls(**{**settings, **overrides})  # type: ignore[arg-type]

    async def aclose(self) -> None:
        """Close the session. May be called twice.

        Raises:
            ClientClosed: Called in another event loop while the loop of the first use is open.
        """
        await self._requester.aclose()

    async def __aenter__(self) -> Self:
        self._requester.binding.check()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __enter__(self) -> NoReturn:
        raise TypeError("TrustCallerClient is asynchronous: write 'async with', not 'with'")

    def __exit__(self, *_: object) -> None:
        """Never called. `with` looks up both methods, so that `__enter__` can raise its message."""

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a TrustCallerClient cannot be pickled or copied: it contains a token and sockets. "
            "Create one in each worker, such as with TrustCallerClient.from_env()"
        )


def _checked_token(token: Secret) -> Secret:
    if isinstance(token.reveal(), str) and TOKEN_FORM.fullmatch(token.reveal()):
        return token
    raise ConfigError(
        "token is empty, or not printable ASCII without spaces. Create a key in the dashboard, Profile > API Keys "
        "(environment: TRUSTCALLER_TOKEN)"
    )
