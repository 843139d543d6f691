"""A connection to a name that a stranger chose: resolved here, judged, and pinned to what was judged.

Who owns a name decides where it leads, and may decide anew for each question: public when it is checked, 127.0.0.1 when
it is connected to (rebinding). So the name is asked for once. Every address of the answer must be public, or nothing is
connected to; and the connection is made to these addresses and no others, while TLS still checks the certificate of the
name.

`addresses.is_public` decides, from an own table of networks.

For tests the judgement can be turned around: then only addresses of this machine are connected to.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from ssl import SSLContext
from typing import TypeAlias

import aiohttp
import attrs
from aiohttp.abc import AbstractResolver, ResolveResult

from truecaller_async.errors import NotSent
from truecaller_async.transport.addresses import is_loopback, is_public
from truecaller_async.transport.aiohttp_transport import AiohttpTransport

Resolve: TypeAlias = Callable[[str, int], Awaitable[Sequence[str]]]
"""Asks for the addresses of a name, as text."""


async def system_resolve(host: str, port: int) -> list[str]:
    """The addresses that the operating system names. Raises `OSError`."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


@attrs.frozen
class Pin:
    """Where to: `host` is the name that TLS checks. `loopback` is for tests and allows this machine, and only it."""

    host: str
    port: int
    scheme: str = "https"
    loopback: bool = False

    def accepts(self, address: str) -> bool:
        """Whether this address may be connected to."""
        return is_loopback(address) if self.loopback else is_public(address)


@asynccontextmanager
async def pinned(
    pin: Pin, *, resolve: Resolve = system_resolve, ssl: SSLContext | None = None
) -> AsyncIterator[AiohttpTransport]:
    """A transport whose every connection goes to the addresses that the name has now.

    No proxy, no cookie, no redirect. Raises `NotSent` where the name cannot be resolved (`.retryable`), or leads to an
    address that may not be connected to; then nothing was connected to.
    """
    addresses = await _resolved(pin, resolve)
    connector = aiohttp.TCPConnector(resolver=_Fixed(pin.host, addresses), use_dns_cache=False, force_close=True)
    session = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False)
    session._retry_connection = False  # noqa: SLF001 - as in the adapter: a GET is never silently sent twice
    async with session:
        yield AiohttpTransport(f"{pin.scheme}://{pin.host}:{pin.port}", session=session, ssl=ssl)


async def _resolved(pin: Pin, resolve: Resolve) -> list[str]:
    try:
        addresses = list(await resolve(pin.host, pin.port))
    except OSError:
        addresses = []
    if not addresses:
        raise NotSent(f"{pin.host}: the name could not be resolved (DNS); nothing was sent")
    refused = next((address for address in addresses if not pin.accepts(address)), None)
    if refused is None:
        return addresses
    rule = "only this machine may be connected to" if pin.loopback else "every address must be a public one"
    error = NotSent(f"{pin.host}: the name leads to {refused}, and {rule}; nothing was sent")
    error.retryable = False
    raise error


class _Fixed(AbstractResolver):
    """Knows one name, and never asks again where it leads."""

    def __init__(self, host: str, addresses: Sequence[str]) -> None:
        self._host = host
        self._addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The addresses that were judged. Raises `OSError` for any other name."""
        if host != self._host:
            raise OSError(f"{host} is not the name that was checked")
        return [_result(host, port, address) for address in self._addresses]

    async def close(self) -> None:
        """Nothing is open."""


def _result(host: str, port: int, address: str) -> ResolveResult:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return ResolveResult(
        hostname=host, host=address, port=port, family=family, proto=socket.IPPROTO_TCP, flags=socket.AI_NUMERICHOST
    )
