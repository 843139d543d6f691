"""Sign-in on a mobile website: a link, a callback that anyone could have posted, a profile.

    browser                      this server                              Truecaller
       |-- wants to sign in -->  begin(session): a nonce, a link
       |-- opens the link -------------------------------------------->   dialog, "Continue"
       |                         handle_callback(body)  <---------------  token, address of the profile
       |-- asks, and asks -->    poll(nonce, session): the profile  <-->  fetched now, once

The callback is answered at once and fetches nothing, so its three seconds are never at risk, and a forged one costs
nothing and learns nothing: the answer is the same for a nonce of ours and for any other. The profile is fetched when
the browser that began asks for it. Only then, and only after the nonce was used up, the address in the callback is
looked at: first by its text (`endpoints`), then by where its name leads (`transport.pinned_dns`). The token goes to
that host and nowhere else.

Two things cannot be seen from here.

Which site a token was given to. Who runs another site has tokens of its users, and could post one with a nonce of his
own, to be signed in here as that user. So let the callback's URL hold a key that nobody can guess, register it with
that key, and keep it out of pages and logs.

Whether the link was opened by the browser that asked for it. Who begins a sign-in and sends its link to somebody else,
who then presses "Continue", is signed in as that person. So never send a link on, and before a step that cannot be
undone ask for more than this.
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
"""Seconds that fetching a profile may take, with everything."""

REDIRECT_ADVICE = "the profile is fetched only from the host in the callback"
ADVICE = {
    401: "the access token is not valid, or older than 10 minutes: the user must start again",
    **dict.fromkeys((301, 302, 303, 307, 308), REDIRECT_ADVICE),
}
NO_PROFILE_HINT = "wait for the callback with poll(), or begin a new sign-in"


class SignInStatus(StrEnum):
    """How far a sign-in is."""

    WAITING = "waiting"
    """Nothing was heard yet; where nothing comes for some seconds, there is no app."""
    OPENED = "opened"
    """The dialog is open."""
    REJECTED = "rejected"
    """The user said no, or wants another number."""
    VERIFIED = "verified"
    """The profile is here."""
    OVER = "over"
    """The nonce is not this session's, is too old, or was used: begin anew."""


@attrs.frozen
class SignIn:
    """What a browser may be told of its sign-in. `profile` is there where the stage is `VERIFIED`."""

    status: SignInStatus
    profile: Profile | None = None


@attrs.frozen
class CallbackAnswer:
    """What the callback is answered with, as `application/json`."""

    status: int = 200
    body: bytes = b"{}"


TOO_LARGE = CallbackAnswer(413)
UNREADABLE = CallbackAnswer(400)


@attrs.frozen(kw_only=True)
class MobileWebOptions:
    """What a site may choose.

    `style` is how the dialog looks, `store` where nonces are kept (this process's memory, unless given), `endpoints`
    which hosts a profile may be fetched from, `service` how they are reached; its `base_url` and `proxy` are not for
    this flow, because the address comes in the callback. `within` is the seconds that a fetch may take. `resolve` asks
    for the addresses of a name, and is for tests.
    """

    style: LinkStyle = attrs.field(factory=LinkStyle)
    store: NonceStore = attrs.field(factory=MemoryNonceStore)
    endpoints: Endpoints = attrs.field(factory=Endpoints)
    service: ServiceOptions = attrs.field(factory=ServiceOptions)
    fetch_timeout: float = FETCH_TIMEOUT_SECONDS
    resolve: Resolve = system_resolve

    def __attrs_post_init__(self) -> None:
        if self.service.base_url is not None or self.service.proxy is not None:
            raise ConfigError(
                "MobileWebOptions.service has a base_url or a proxy: the address comes in the callback, and the "
                "connection is pinned to it; name hosts with endpoints=Endpoints(hosts=...)"
            )
        if not 0 < self.fetch_timeout <= 60:
            raise ConfigError(
                f"MobileWebOptions.fetch_timeout is {self.fetch_timeout!r}: it must be above 0 and at most 60 seconds"
            )


class MobileWeb:
    """The server's side of a mobile website's sign-in.

    `partner_key` is the app key of the developer portal, `partner_name` the name that users are shown. Raises
    `ValidationError`; opens nothing.
    """

    def __init__(self, partner_key: str, partner_name: str, options: MobileWebOptions | None = None) -> None:
        raise_problems(*check_partner(partner_key, partner_name))
        self._partner_key = partner_key
        self._partner_name = partner_name
        self._options = options or MobileWebOptions()

    async def begin(self, session: str) -> DeepLink:
        """A link with a new nonce for this browser; keep `.nonce` for `poll`, open `.url`.

        `session` is what only the server and this browser know, such as the value of its session cookie. Raises
        `ValidationError` for an empty one, and what the store's I/O does.
        """
        nonce = await self._options.store.issue(session)
        return DeepLink(self._partner_key, self._partner_name, nonce, self._options.style)

    async def handle_callback(self, body: bytes) -> CallbackAnswer:
        """Keep what a callback says, and what to answer: 200 and `{}`, whether its nonce is ours or not.

        A body that is no JSON object is 400, one of more than 64 KiB is 413: Truecaller sends neither. Raises only
        what the store's I/O does.
        """
        if len(body) > BODY_MAX_BYTES:
            return TOO_LARGE
        try:
            callback = parse_callback(body)
        except DecodeError:
            return UNREADABLE
        del body  # what the store raises must not hold the token in its frames
        if not isinstance(callback, UnknownCallback):
            await self._options.store.record(callback)
        return CallbackAnswer()

    async def poll(self, nonce: str, session: str) -> SignIn:
        """How far this browser's sign-in is; the profile comes once, to one of those who ask.

        The page advises 5 questions, 3 seconds apart, and another way in after 30 seconds. Raises as `fetch_profile`;
        the sign-in is then over.
        """
        issued = await self._options.store.find(nonce, session)
        if issued is None:
            return SignIn(SignInStatus.OVER)
        match issued.callback:
            case None:
                return SignIn(SignInStatus.WAITING)
            case FlowInvoked():
                return SignIn(SignInStatus.OPENED)
            case UserRejected():
                return SignIn(SignInStatus.REJECTED)
            case ProfileReady():
                profile = await self._fetch_once(nonce, session)
                return SignIn(SignInStatus.OVER) if profile is None else SignIn(SignInStatus.VERIFIED, profile)

    async def fetch_profile(self, nonce: str, session: str) -> Profile:
        """As `poll`, for those who know that the callback came: the profile that it grants, and the nonce is used up.

        From "Truecaller for Developers: Mobile websites, Fetch User Profile". Raises `ValidationError` where there is
        no such callback for this session, and nothing is used up, or where it names an address that may not be
        fetched; `NotSent` where the name leads to an address that is not public; `AuthenticationFailed` for a token
        that is too old, `UnexpectedRedirect`, `ServerError`, `ResponseLost`, `DecodeError`, or `DeadlineExceeded`
        after 5 seconds.
        """
        state = await self.poll(nonce, session)
        if state.profile is None:
            raise ValidationError(
                [Problem("nonce", "nonce.ready", f"has no profile: status {state.status}", "", NO_PROFILE_HINT)]
            )
        return state.profile

    async def aclose(self) -> None:
        """Close the store. May be called twice. Raises what the store's I/O does."""
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
        """One fetch. The name is resolved and judged for each, and each has a connection of its own."""
        options = self._options.service
        pin = Pin(endpoint.host, endpoint.port, endpoint.scheme, self._options.endpoints.allow_loopback)
        async with pinned(pin, resolve=self._options.resolve, ssl=options.ssl) as transport:
            return await options.executor(transport).attempt(request, None, options.timeouts, self._decode)

    def _decode(self, answer: Answer) -> Profile:
        now = self._options.service.clock.wall()
        return decode_answer(profile_of, answer, is_read=True, now=now, advice=ADVICE)
