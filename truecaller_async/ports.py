"""The borders between the engine and the world, as Protocols. Each has one conformance suite that every adapter passes.

A port says what is promised, never how. `Limiter.take` is the one that carries law 1: it grants one permit or says
how long to wait, and never blocks, so no cancelled waiter can lose or leak a permit, and an adapter may as well ask a
database or Redis. `Journal.write` carries law 4: when it returns, the entries survive the process.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Protocol, TypeAlias

from truecaller_async.models import Answer, JournalEntry, Request, RowsRead, Secret, Token
from truecaller_async.models.tokens import StoreSnapshot
from truecaller_async.options import Timeouts
from truecaller_async.planning.campaign_state import CampaignState

Write: TypeAlias = Callable[[bytes], Awaitable[None]]
"""Takes one piece of a file. Raises errors of this library only."""


class Transport(Protocol):
    """Carries one request to the server and brings one complete answer back."""

    async def send(self, request: Request, timeouts: Timeouts) -> Answer:
        """One attempt. Raises `NotSent`, `ResponseLost`, `DecodeError` (an answer over the cap), `ConfigError`
        (a request that must not go on the wire) or `ClientClosed`, and nothing of the HTTP library."""
        ...

    async def download(
        self, link: Secret, write: Write, timeouts: Timeouts, *, hosts: Collection[str], cap: int
    ) -> Answer:
        """One GET of a link that the server gave us, without token; the answer is without its body.

        Only to the server's own host, to hosts below truecaller.com, and to `hosts`. The body of a 200 goes to `write`
        piece by piece; that of any other status is not read. Raises as `send`, and `ConfigError` or `DecodeError`
        before anything is sent where the link may not be followed, and what `write` raises.
        """
        ...

    async def aclose(self) -> None:
        """Close what was opened here. May be called twice."""
        ...


class Limiter(Protocol):
    """Grants permits so that no limit is exceeded in any window of its length."""

    async def try_acquire(self, token_id: str, call: str) -> float:
        """Ask for one permit: 0.0 means granted and charged; else the seconds to wait, and nothing was charged."""
        ...

    def slow_down(self, token_id: str) -> None:
        """The server refused a request that was within the limits: halve this token's rate for a while."""
        ...

    def restore(self, token_id: str, releases: Mapping[str, Sequence[float]]) -> None:
        """Count requests that were sent before this process began: ages in seconds, by the name of the limit."""
        ...

    def remove(self, token_id: str) -> None:
        """The token is gone."""
        ...


class TokenStore(Protocol):
    """Keeps the live tokens and the ledger of mints of one account. Times are wall-clock seconds."""

    async def adopt(self, now: float) -> Sequence[Token]:
        """The live tokens that no other living process uses; from now on they are ours."""
        ...

    async def add(self, token: Token) -> None:
        """A token was created, and is ours."""
        ...

    async def discard(self, token_id: str) -> None:
        """The token was refused or replaced."""
        ...

    async def claim_mint(self, limit: int, per: float, now: float) -> float:
        """Write one mint into the ledger: 0.0 means it may be made now; else the seconds until one may."""
        ...

    async def refund_mint(self, now: float) -> None:
        """The mint claimed at `now` never reached the server."""
        ...

    async def record_release(self, token_id: str, rule: str, at: float) -> None:
        """A request was released under this limit; kept so that the limit holds over a restart."""
        ...

    async def releases(self, token_id: str, since: float) -> Mapping[str, Sequence[float]]:
        """The releases noted for this token after `since`, by the name of the limit."""
        ...

    async def snapshot(self, now: float, since: float) -> StoreSnapshot:
        """The tokens alive at `now`, whoever uses them, and the mints after `since`. Changes and creates nothing."""
        ...

    async def release_all(self, now: float) -> None:
        """The tokens are no longer ours; they were last used at `now`."""
        ...

    async def aclose(self) -> None:
        """Close. May be called twice."""
        ...


class Journal(Protocol):
    """The memory of a campaign. What an entry means is said by `planning.campaign_state`."""

    @property
    def resumable(self) -> bool:
        """Whether another run can go on from it, so that prints and payloads of the rows are worth their cost."""
        ...

    async def open(self, *, is_new: bool) -> CampaignState:
        """Take hold of the journal, alone, and say where its campaign stands: the very object that `write` changes.

        `anew` is for a campaign that begins: a journal that holds one already is refused, and so is one that holds none
        where it is resumed. Raises `JournalBusy` where another process has it, `JournalError` where it cannot be used;
        it is not changed then.
        """
        ...

    async def write(self, *entries: JournalEntry) -> None:
        """One transaction; durable when it returns, and kept or refused as a whole.

        Raises `JournalError`; then nothing may be sent, and nothing more is written. Who waits may be cancelled: the
        entries are written all the same, in the order of the calls.
        """
        ...

    async def read_blocks(self, after: int, limit: int) -> Sequence[RowsRead]:
        """What was read behind that row: up to `limit` of the `RowsRead` entries, in the order of the rows."""
        ...

    async def aclose(self) -> None:
        """Write what is on its way, and let go. May be called twice."""
        ...


class Observer(Protocol):
    """Is told what happens; decides nothing, and an exception in it changes nothing."""

    def request(self, call: str, token_id: str | None, status: int | None, seconds: float, error: str | None) -> None:
        """One HTTP attempt ended: with a status, or with the name of an error."""
        ...

    def event(self, name: str, fields: Mapping[str, object]) -> None:
        """A stage of a campaign, or of the token pool, was reached."""
        ...
