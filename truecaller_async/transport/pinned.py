"""A connection to a name that a stranger chose: resolved here, judged, and pinned to what was judged.

Who owns a name decides where it leads, and may decide anew for each question: public when it is checked, 127.0.0.1 when
it is connected to (rebinding). So the name is asked for once. Every address of the answer must be public, or nothing is
connected to; and the connection is made to these addresses and no others, while TLS still checks the certificate of the
name.

An IPv6 address can carry an IPv4 address inside (mapped, 6to4, NAT64, ISATAP), which must be public too. The standard
library calls more global than is: multicast, and whatever no list has a word for, such as the old `::127.0.0.1`. So an
IPv6 address must also be of the eighth that is given out, and what is set apart in it is named here.

For tests the judgement can be turned around: then only addresses of this machine are connected to.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from ssl import SSLContext
from typing import TypeAlias

import aiohttp
import attrs
from aiohttp.abc import AbstractResolver, ResolveResult

from truecaller_async.errors import NotSent
from truecaller_async.transport.adapter import AiohttpTransport

Resolve: TypeAlias = Callable[[str, int], Awaitable[Sequence[str]]]
"""Asks for the addresses of a name, as text."""

NAT64 = IPv6Network("64:ff9b::/96")
ISATAP = (b"\x00\x00\x5e\xfe", b"\x02\x00\x5e\xfe")
"""What stands before the IPv4 address."""

GIVEN_OUT = IPv6Network("2000::/3")
SET_APART = (IPv4Network("192.0.0.0/24"), IPv4Network("192.88.99.0/24"), IPv6Network("3fff::/20"))
"""For protocols, for relays of 6to4, for documentation: not every version of Python knows them."""


async def system_resolve(host: str, port: int) -> list[str]:
    """The addresses that the operating system names. Raises `OSError`."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


def is_public(text: str) -> bool:
    """Whether this is an address on the open internet, in every reading of it."""
    try:
        address = ip_address(text)
    except ValueError:
        return False
    if isinstance(address, IPv6Address) and (address.teredo is not None or address.scope_id is not None):
        return False
    return all(_is_open(one) for one in _readings(address))


def is_loopback(text: str) -> bool:
    """Whether this is an address of this machine, and of no other."""
    try:
        return ip_address(text).is_loopback
    except ValueError:
        return False


def _is_open(address: IPv4Address | IPv6Address) -> bool:
    if isinstance(address, IPv6Address) and address not in GIVEN_OUT:
        return False
    return address.is_global and not address.is_multicast and not any(address in network for network in SET_APART)


def _readings(address: IPv4Address | IPv6Address) -> list[IPv4Address | IPv6Address]:
    """The address that is connected to in the end, and the one it is written in."""
    if isinstance(address, IPv4Address):
        return [address]
    if address.ipv4_mapped is not None:
        return [address.ipv4_mapped]
    if address.sixtofour is not None:
        return [address, address.sixtofour]
    inside = IPv4Address(address.packed[-4:])
    if address in NAT64:
        return [inside]
    return [address, inside] if address.packed[8:12] in ISATAP else [address]


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
