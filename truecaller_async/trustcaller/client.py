"""The client of TrustCaller: one account, and the calls that hang on it.

Making a client does no I/O and needs no event loop; the session is opened by the first request and belongs to that
loop. `aclose` may be called twice. Used from another loop, after `fork` or after `aclose`, it says so (`ClientClosed`).
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
"""The one address that "TrustCaller API: Introduction" names."""

TOKEN_VARIABLE = "TRUSTCALLER_TOKEN"  # noqa: S105 - the name of a variable
TOKEN_FORM = re.compile(r"[!-~]{1,4096}", re.ASCII)


class TrustCallerClient:
    """An asynchronous client of the TrustCaller API.

    `token` comes from the dashboard, or from `keys.create`. `base_url` must be https, except on this machine. `limits`
    are 60 requests in 60 seconds unless given, counted by this client. `retry` and `timeouts` are in seconds.
    `session`, `proxy` and `ssl` are yours to bring; a session that you bring is never closed here. Raises
    `ConfigError`, and does no I/O.
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
        token = token if isinstance(token, Secret) else Secret(token)  # from here on no frame shows it
        request_settings = RequestSettings(
            _checked_token(token),
            checked_kind("limits", limits, Limits, lambda: DOCUMENTED_LIMITS),
            checked_kind("retry", retry, RetryPolicy, lambda: PATIENT_RETRY),
            checked_kind("timeouts", timeouts, Timeouts, Timeouts),
        )
        transport = AiohttpTransport(
            checked_url(base_url), session=session, proxy=proxy, ssl=ssl, user_agent=user_agent
        )
        environment = RequesterEnvironment(Clock(), Random(), observer or LoggingObserver())  # noqa: S311 - jitter guards nothing
        self._attach_resources(TrustCallerRequester(transport, request_settings, environment))

    def _attach_resources(self, requester: TrustCallerRequester) -> None:
        self._requester = requester
        self.numbers = TrustCallerNumbers(requester)
        self.test_numbers = TrustCallerTestNumbers(requester)
        self.calls = TrustCallerCalls(requester)
        self.keys = TrustCallerKeys(requester)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, **overrides: object) -> Self:
        """A client from the environment; keyword arguments of the constructor override it.

        Reads TRUSTCALLER_TOKEN, or TRUSTCALLER_TOKEN_FILE, the path of a file that holds it, and TRUSTCALLER_BASE_URL.
        Raises `ConfigError` that names what is missing.
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

        Raises `ClientClosed` in another event loop while the one of the first use is still open.
        """
        await self._requester.aclose()

    async def __aenter__(self) -> Self:
        self._requester.home.check()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __enter__(self) -> NoReturn:
        raise TypeError("TrustCallerClient is asynchronous: write 'async with', not 'with'")

    def __exit__(self, *_: object) -> None:
        """Never reached; here so that `with` finds both methods and `__enter__` can say what to do."""

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a TrustCallerClient cannot be pickled or copied: it holds a token and sockets; "
            "make one in each worker, such as with TrustCallerClient.from_env()"
        )


def _checked_token(token: Secret) -> Secret:
    if isinstance(token.reveal(), str) and TOKEN_FORM.fullmatch(token.reveal()):
        return token
    raise ConfigError(
        "token is empty, or not printable ASCII without spaces; make a key in the dashboard, Profile > API Keys "
        "(environment: TRUSTCALLER_TOKEN)"
    )
