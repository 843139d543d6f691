"""Define the interfaces between the engine and its adapters, as Protocols.

Each port has one conformance suite that every adapter passes (tests/conformance).

Invariants:
    - `Limiter.try_acquire` never waits: it grants one permit or returns the seconds to wait. An adapter that needs I/O
      fetches permits in a task of its own and informs its subscribers.
    - Each permit ends once: by the answer, because the request was given up, or because nothing was sent.
    - What a journal has stored is always a prefix of what was appended, in whole transactions.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol, TypeAlias

from truecaller_async.models import Answer, Request, Secret, Token
from truecaller_async.models.tokens import SentRequest, StoreSnapshot
from truecaller_async.options import Timeouts

if TYPE_CHECKING:
    # Only for types: a program that imports the client's name does not load the campaign.
    from asyncio import Future

    from truecaller_async.campaign.core.batch import CampaignBatch
    from truecaller_async.campaign.core.campaign_state import CampaignState
    from truecaller_async.models.journal_entries import JournalEntry, RowsRead

Write: TypeAlias = Callable[[bytes], Awaitable[None]]
"""Writes one piece of a file. It raises only errors of this package."""


class Transport(Protocol):
    """Sends one request to the server and returns one complete answer."""

    async def send(self, request: Request, timeouts: Timeouts) -> Answer:
        """Make one attempt.

        Args:
            request: The request, with its token if it has one.
            timeouts: The timeouts, in seconds.

        Returns:
            The answer, whatever its status.

        Raises:
            NotSent: No connection was acquired.
            ResponseLost: The connection broke before the answer was complete.
            DecodeError: The answer is larger than `request.body_max_bytes`.
            ConfigError: The request cannot be written safely.
            ClientClosed: The transport is closed, or belongs to another event loop or process.
        """
        ...

    async def download(
        self, link: Secret, write: Write, timeouts: Timeouts, *, hosts: Collection[str], max_bytes: int
    ) -> Answer:
        """Download the file behind a link of the server, in one GET without a token.

        Args:
            link: The link. It may lead to the server's own host, to hosts below truecaller.com, and to `hosts`.
            write: Receives the body of a 200, in pieces. The body of another status is not read.
            timeouts: The timeouts, in seconds.
            hosts: Further hosts that are allowed.
            max_bytes: Maximum size of the file, in bytes.

        Returns:
            The answer without its body.

        Raises:
            ConfigError: The link leads to another host; nothing was sent.
            DecodeError: The link is no URL (nothing was sent), or the file is larger than `max_bytes`.
            TruecallerError: As `send`, and what `write` raises.
        """
        ...

    async def aclose(self) -> None:
        """Close what the transport opened. May be called twice."""
        ...


class Permit(Protocol):
    """The permission to send one request. It ends once; a second end is ignored.

    Times are on the clock of the event loop.
    """

    @property
    def token_id(self) -> str:
        """The token with which the request may be sent."""
        ...

    @property
    def at(self) -> float:
        """The time from which the request may be sent, in seconds. It may be ahead by up to 1 s."""
        ...

    def done(self, at: float) -> None:
        """End the permit: the headers of the answer arrived at this time, or the connection broke.

        The request counts at this time.
        """
        ...

    def lost(self, at: float) -> None:
        """End the permit: a timeout or deadline of the client gave up the request at this time.

        The request may still arrive, so it counts as in flight for twice the longest recent round trip (0.5 to 30 s).
        """
        ...

    def cancel(self) -> None:
        """End the permit: nothing was sent. It no longer counts."""
        ...


class Limiter(Protocol):
    """Grants permits so that the server never counts more than a limit in a window of its length."""

    def try_acquire(self, call: str, token_ids: Sequence[str], now: float) -> Permit | float:
        """Try to acquire one permit; never wait for it.

        Args:
            call: The name of the call.
            token_ids: The tokens with which the request may be sent, the preferred ones first.
            now: The time of the event loop.

        Returns:
            A permit for the first of these tokens that may send now. Otherwise the seconds to wait; nothing is charged.
            Infinity: a permit must end first. Then the subscribers are called.
        """
        ...

    def subscribe(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` when a permit may be possible earlier: at least after each permit that ends.

        Returns:
            A function that ends the subscription.
        """
        ...

    def slow_down(self, token_id: str, now: float) -> bool:
        """Halve the rate of this token for a while, because the server refused a request.

        Returns:
            Whether a limit of the token was used up. Otherwise the limits of the server are lower, or other requests
            count under them.
        """
        ...

    def restore(self, token_id: str, sent_requests: Mapping[str, Sequence[float]]) -> None:
        """Count requests that an earlier process sent.

        Args:
            token_id: The token with which they were sent.
            sent_requests: Their ages in seconds, by the name of the limit.
        """
        ...

    def remove(self, token_id: str) -> None:
        """Remove the state of a token that is no longer used."""
        ...


class TokenStore(Protocol):
    """Stores the live tokens and the ledger of mints of one account. Times are wall-clock seconds."""

    async def adopt(self, now: float) -> Sequence[Token]:
        """Adopt all live tokens that no other open store uses, and return them.

        They are reserved for this store until `release_all`, also those that the pool does not use.
        """
        ...

    async def add(self, token: Token) -> None:
        """Store a new token; this process uses it."""
        ...

    async def discard(self, token_id: str) -> None:
        """Delete a token that was refused or replaced."""
        ...

    async def claim_mint(self, limit: int, per: float, now: float) -> float:
        """Write one mint to the ledger if the budget allows it.

        Args:
            limit: The most mints in one window.
            per: The length of the window, in seconds.
            now: The current time.

        Returns:
            0.0 if the mint is written and may be made now, otherwise the seconds until one may; nothing is written.
        """
        ...

    async def refund_mint(self, claimed_at: float) -> None:
        """Delete the mint claimed at `now`: it made no token."""
        ...

    def record_sent_request(self, request: SentRequest) -> Future[None] | None:
        """Begin to store that a request is sent, so that its limits hold across a restart.

        Returns:
            Done when the record is stored, before which nothing may be sent. None: there is nothing to wait for.
        """
        ...

    def record_request_end(self, request: SentRequest, counts_at: float | None) -> None:
        """Store at which time the request counts since its answer. None: it was not sent.

        It may be stored later, with another record, but at the latest by `release_all` or `aclose`.
        """
        ...

    async def sent_requests(self, token_id: str, since: float, now: float) -> Mapping[str, Sequence[float]]:
        """Return when the requests with this token count that count after `since`, by the name of the limit.

        Requests without an answer count at `now`, also in later calls.
        """
        ...

    async def snapshot(self, now: float, since: float) -> StoreSnapshot:
        """Return the tokens alive at `now`, of all processes, and the mints after `since`. Changes nothing."""
        ...

    async def release_all(self, idle_since: float | None) -> None:
        """Release the tokens of this process to the next one.

        Args:
            idle_since: When they were last used. None: requests are still in flight.
        """
        ...

    async def aclose(self) -> None:
        """Close the store. May be called twice."""
        ...


class Journal(Protocol):
    """Stores the entries of one campaign. `campaign.core.campaign_state` defines what an entry means."""

    @property
    def resumable(self) -> bool:
        """Return whether another run can continue from it.

        If not, fingerprints and records of the rows need not be stored.
        """
        ...

    async def open(self, *, is_new: bool) -> CampaignState:
        """Open the journal for this process alone.

        Args:
            is_new: Whether a campaign begins. Then a journal that contains a campaign is refused; otherwise one that
                contains none.

        Returns:
            The state of the campaign. The caller changes it by `apply` before it appends the entries.

        Raises:
            JournalBusy: Another process uses the journal. It is unchanged.
            JournalError: The journal cannot be used. It is unchanged.
        """
        ...

    def append(self, entries: Sequence[JournalEntry], changed: Iterable[CampaignBatch]) -> Future[None] | None:
        """Store entries in one transaction: all or none, in the order of the calls. Does not wait.

        Args:
            entries: Entries that are applied to the state already; no later entry is.
            changed: The batches that they changed.

        Returns:
            A future that is done when the entries are durable, and fails with `JournalError` if they are not. None if
            there is nothing to wait for.

        Raises:
            JournalError: The entries cannot be stored. Then nothing may be sent, and nothing more is stored.
        """
        ...

    async def read_blocks(self, after: int, limit: int) -> Sequence[RowsRead]:
        """Return up to `limit` `RowsRead` entries behind the row `after`, in the order of the rows."""
        ...

    async def aclose(self) -> None:
        """Finish the writes that were requested, and close the journal. May be called twice."""
        ...


class Observer(Protocol):
    """Receives requests and events. It decides nothing, and an exception in it changes nothing."""

    def request(self, call: str, token_id: str | None, status: int | None, seconds: float, error: str | None) -> None:
        """Receive the end of one HTTP attempt.

        Args:
            call: The name of the call.
            token_id: The token with which it was sent; None without one.
            status: The HTTP status; None without an answer.
            seconds: The duration.
            error: The class name of the error; None without one.
        """
        ...

    def event(self, name: str, fields: Mapping[str, object]) -> None:
        """Receive an event of a campaign or of the token pool.

        Args:
            name: The name, such as "token.minted". docs/reference/events.md lists all.
            fields: Ids, counts, times and words; no secret and no full phone number.
        """
        ...
