"""Sign users in on a mobile website: a link, an untrusted callback, a profile.

    browser                      this server                              Truecaller
       |-- wants to sign in -->  begin(session): a nonce, a link
       |-- opens the link -------------------------------------------->   dialog, "Continue"
       |                         handle_callback(body)  <---------------  token, address of the profile
       |-- polls ----------->    poll(nonce, session): the profile  <-->  fetched now, once

Algorithm:
    - The callback is stored and answered at once, within its limit of 3 seconds, without a request. A forged callback
      gets the same answer as a valid one.
    - The profile is fetched when the browser that began the sign-in polls. First the nonce is consumed. Then the
      address is checked by its text (`endpoints`) and by its DNS result (`transport.pinned_dns`). The token is sent to
      that host only.
Failure modes (not detectable here):
    - A token does not name its site. The owner of another site can post a token of its user with its own nonce, and is
      then signed in here as that user. Put a long random key into the callback URL and keep it secret.
    - The link may be opened in another browser. A sender of a sign-in link is signed in as the person that presses
      "Continue". Never forward a link, and require more than this before an irreversible step.
"""

from __future__ import annotations

import asyncio
from enum import StrEnum

import attrs

from truecaller_async.errors import ConfigError, DeadlineExceeded, DecodeError, ValidationError
from truecaller_async.models import Answer, Problem, Request
from truecaller_async.protocol.arguments import raise_problems
from truecaller_async.transport.pinned_dns import Pin, Resolve, pinned, system_resolve
from truecaller_async.verification.callbacks import (
    BODY_MAX_BYTES,
    FlowInvoked,
    ProfileReady,
    UnknownCallback,
    UserRejected,
    parse_callback,
)
from truecaller_async.verification.deep_link import DeepLink, LinkStyle, check_partner
from truecaller_async.verification.endpoints import Endpoint, Endpoints
from truecaller_async.verification.json_fields import decode_answer
from truecaller_async.verification.nonces import MemoryNonceStore, NonceStore
from truecaller_async.verification.profiles import Profile, profile_of
from truecaller_async.verification.requester import ANSWER_MAX_BYTES, ServiceOptions, with_retries

FETCH_TIMEOUT_SECONDS = 5.0
"""Time limit for fetching a profile, including retries."""

REDIRECT_ADVICE = "the profile is fetched only from the host in the callback"
ADVICE = {
    401: "the access token is not valid, or older than 10 minutes: the user must start again",
    **dict.fromkeys((301, 302, 303, 307, 308), REDIRECT_ADVICE),
}
NO_PROFILE_HINT = "wait for the callback with poll(), or begin a new sign-in"


class SignInStatus(StrEnum):
    """State of a sign-in."""

    WAITING = "waiting"
    """No callback yet. If none comes within some seconds, the app is not installed."""
    OPENED = "opened"
    """The dialog is open."""
    REJECTED = "rejected"
    """The user declined or wants to use another number."""
    VERIFIED = "verified"
    """The profile is available."""
    ENDED = "ended"
    """The nonce belongs to another session, has expired, or was used. Begin a new sign-in."""


@attrs.frozen
class SignIn:
    """State of a sign-in, for the browser that began it."""

    status: SignInStatus
    """The state."""
    profile: Profile | None = None
    """The profile if the status is `VERIFIED`, otherwise None."""


@attrs.frozen
class CallbackAnswer:
    """The HTTP answer to a callback, with content type `application/json`."""

    status: int = 200
    """HTTP status."""
    body: bytes = b"{}"
    """Body."""


TOO_LARGE = CallbackAnswer(413)
UNREADABLE = CallbackAnswer(400)


@attrs.frozen(kw_only=True)
class MobileWebOptions:
    """Options of `MobileWeb`.

    Raises:
        ConfigError: `service` has a `base_url` or a `proxy`, or `fetch_timeout` is out of range.
    """

    style: LinkStyle = attrs.field(factory=LinkStyle)
    """Appearance of the dialog."""
    store: NonceStore = attrs.field(factory=MemoryNonceStore)
    """Where nonces are stored; by default in the memory of this process."""
    endpoints: Endpoints = attrs.field(factory=Endpoints)
    """Hosts from which a profile may be fetched."""
    service: ServiceOptions = attrs.field(factory=ServiceOptions)
    """How the host is reached. `base_url` and `proxy` must be None, because the callback gives the address."""
    fetch_timeout: float = FETCH_TIMEOUT_SECONDS
    """Seconds that fetching a profile may take, above 0 and at most 60."""
    resolve: Resolve = system_resolve
    """Resolves a host name to addresses; for tests."""

    def __attrs_post_init__(self) -> None:
        if self.service.base_url is not None or self.service.proxy is not None:
            raise ConfigError(
                "MobileWebOptions.service has a base_url or a proxy: the callback gives the address, and the "
                "connection is pinned to it. Remove them, and give hosts as endpoints=Endpoints(hosts=...)"
            )
        if not 0 < self.fetch_timeout <= 60:
            raise ConfigError(
                f"MobileWebOptions.fetch_timeout is {self.fetch_timeout!r}: it must be above 0 and at most 60 seconds"
            )


class MobileWeb:
    """Server side of the sign-in on a mobile website.

    Args:
        partner_key: The app key of the developer portal.
        partner_name: The name that the dialog shows to users.
        options: Options; the defaults if None.

    Raises:
        ValidationError: The key or the name has the wrong form.
    """

    def __init__(self, partner_key: str, partner_name: str, options: MobileWebOptions | None = None) -> None:
        raise_problems(*check_partner(partner_key, partner_name))
        self._partner_key = partner_key
        self._partner_name = partner_name
        self._options = options or MobileWebOptions()

    async def begin(self, session: str) -> DeepLink:
        """Create a link with a new nonce for this browser. Store `.nonce` for `poll`; the page opens `.url`.

        Args:
            session: A value that only the server and this browser know, such as the value of its session cookie.

        Returns:
            The link.

        Raises:
            ValidationError: `session` is empty.
            Exception: As raised by the I/O of the store.
        """
        nonce = await self._options.store.issue(session)
        return DeepLink(self._partner_key, self._partner_name, nonce, self._options.style)

    async def handle_callback(self, body: bytes) -> CallbackAnswer:
        """Store a callback and return the answer: 200 with `{}`, for a known nonce and for any other.

        Args:
            body: The bytes of the request body.

        Returns:
            The answer. Status 400 for a body that is not a JSON object, 413 for more than 64 KiB; Truecaller sends
            neither.

        Raises:
            Exception: As raised by the I/O of the store.
        """
        if len(body) > BODY_MAX_BYTES:
            return TOO_LARGE
        try:
            callback = parse_callback(body)
        except DecodeError:
            return UNREADABLE
        del body  # the frames of an error of the store must not contain the token
        if not isinstance(callback, UnknownCallback):
            await self._options.store.record(callback)
        return CallbackAnswer()

    async def poll(self, nonce: str, session: str) -> SignIn:
        """Return the state of this browser's sign-in. The profile is returned once, to one caller.

        The documentation recommends 5 polls, 3 seconds apart, and another sign-in method after 30 seconds.

        Args:
            nonce: The nonce of the link.
            session: The value that was given to `begin`.

        Returns:
            The state, with the profile if it is verified.

        Raises:
            TruecallerError: As `fetch_profile`, if fetching the profile fails. The sign-in has ended then.
        """
        issued = await self._options.store.find(nonce, session)
        if issued is None:
            return SignIn(SignInStatus.ENDED)
        match issued.callback:
            case None:
                return SignIn(SignInStatus.WAITING)
            case FlowInvoked():
                return SignIn(SignInStatus.OPENED)
            case UserRejected():
                return SignIn(SignInStatus.REJECTED)
            case ProfileReady():
                profile = await self._fetch_once(nonce, session)
                return SignIn(SignInStatus.ENDED) if profile is None else SignIn(SignInStatus.VERIFIED, profile)

    async def fetch_profile(self, nonce: str, session: str) -> Profile:
        """Fetch the profile after its callback has arrived, and consume the nonce.

        From "Truecaller for Developers: Mobile websites, Fetch User Profile".

        Args:
            nonce: The nonce of the link.
            session: The value that was given to `begin`.

        Returns:
            The profile.

        Raises:
            ValidationError: This session has no such callback (the nonce is kept then), or the callback names an
                address that is not allowed.
            NotSent: The host resolves to an address that is not public.
            AuthenticationFailed: The token is invalid or older than 10 minutes.
            UnexpectedRedirect, ServerError, ResponseLost, DecodeError: The request failed.
            DeadlineExceeded: The fetch took longer than `fetch_timeout` seconds.
        """
        state = await self.poll(nonce, session)
        if state.profile is None:
            raise ValidationError(
                [Problem("nonce", "nonce.ready", f"has no profile: status {state.status}", "", NO_PROFILE_HINT)]
            )
        return state.profile

    async def aclose(self) -> None:
        """Close the store. May be called twice. Raises as the I/O of the store does."""
        await self._options.store.aclose()

    async def _fetch_once(self, nonce: str, session: str) -> Profile | None:
        issued = await self._options.store.consume(nonce, session)
        if issued is None or not isinstance(issued.callback, ProfileReady):
            return None
        endpoint = self._options.endpoints.check(issued.callback.endpoint)
        request = Request(
            "profile",
            "GET",
            endpoint.target,
            headers={"Cache-Control": "no-cache", "Accept": "application/json"},
            token=issued.callback.access_token,
            body_max_bytes=ANSWER_MAX_BYTES,
        )
        try:
            async with asyncio.timeout(self._options.fetch_timeout):
                return await with_retries(lambda: self._attempt(endpoint, request), self._options.service.retry)
        except TimeoutError:
            message = f"the profile was not fetched from {endpoint.host} within {self._options.fetch_timeout:g} s"
        raise DeadlineExceeded(message, sent="maybe")

    async def _attempt(self, endpoint: Endpoint, request: Request) -> Profile:
        """Fetch once. Each attempt resolves and checks the name again, and has its own connection."""
        options = self._options.service
        pin = Pin(endpoint.host, endpoint.port, endpoint.scheme, self._options.endpoints.allow_loopback)
        async with pinned(pin, resolve=self._options.resolve, ssl=options.ssl) as transport:
            return await options.executor(transport).attempt(request, None, options.timeouts, self._decode)

    def _decode(self, answer: Answer) -> Profile:
        now = self._options.service.clock.wall()
        return decode_answer(profile_of, answer, is_read=True, now=now, advice=ADVICE)
