"""Connect to a host whose name another party chose, without reaching internal addresses.

Purpose:
    The owner of a name decides where it leads, and can change the answer for each query: public when it is checked,
    127.0.0.1 when the connection is made (DNS rebinding).

Algorithm:
    The name is resolved once. Each address of the answer must be public (`addresses.is_public`); otherwise nothing is
    connected to. Connections are made only to these addresses, and TLS still checks the certificate of the name.

    For tests the check can be reversed: then only loopback addresses are accepted.
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
"""Function that returns the addresses of a host and port as text."""


async def system_resolve(host: str, port: int) -> list[str]:
    """Return the addresses from the resolver of the operating system. Raises `OSError`."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


@attrs.frozen
class Pin:
    """The host to connect to."""

    host: str
    """Name that is resolved and that TLS checks."""
    port: int
    """TCP port."""
    scheme: str = "https"
    """Scheme of the URL."""
    loopback: bool = False
    """For tests: accept loopback addresses, and no others."""

    def accepts(self, address: str) -> bool:
        """Return whether a connection to this address is allowed."""
        return is_loopback(address) if self.loopback else is_public(address)


@asynccontextmanager
async def pinned(
    pin: Pin, *, resolve: Resolve = system_resolve, ssl: SSLContext | None = None
) -> AsyncIterator[AiohttpTransport]:
    """Open a transport that connects only to the present addresses of a name.

    It uses no proxy, keeps no cookies and follows no redirects.

    Args:
        pin: the host.
        resolve: function that resolves the name.
        ssl: context with the trusted certificates; those of the system by default.

    Raises:
        NotSent: The name cannot be resolved (`.retryable`), or leads to an address that is not allowed (not
            retryable). Nothing was connected to.
    """
    addresses = await _resolved(pin, resolve)
    connector = aiohttp.TCPConnector(
        resolver=_FixedResolver(pin.host, addresses), use_dns_cache=False, force_close=True
    )
    session = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False)
    session._retry_connection = False  # noqa: SLF001 - as in AiohttpTransport: a GET is never silently sent twice
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
    rule = "only addresses of this machine are allowed" if pin.loopback else "every address must be public"
    error = NotSent(f"{pin.host}: the name leads to {refused}, but {rule}; nothing was sent")
    error.retryable = False
    raise error


class _FixedResolver(AbstractResolver):
    """Resolver that knows one name and its checked addresses."""

    def __init__(self, host: str, addresses: Sequence[str]) -> None:
        self._host = host
        self._addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the checked addresses. Raises `OSError` for any other name."""
        if host != self._host:
            raise OSError(f"{host} is not the name that was checked")
        return [_result(host, port, address) for address in self._addresses]

    async def close(self) -> None:
        """Do nothing: no resource is open."""


def _result(host: str, port: int, address: str) -> ResolveResult:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return ResolveResult(
        hostname=host, host=address, port=port, family=family, proto=socket.IPPROTO_TCP, flags=socket.AI_NUMERICHOST
    )
