"""Decide whether an IP address is public, from a table of networks of the package.

Purpose:
    A program must not connect to an internal address because the name of another party leads there. The result must be
    the same on each interpreter: `ipaddress.IPv4Address.is_global` changes between releases of Python (6to4 is one
    example).

Algorithm:
    An address is split into the addresses that a packet to it can reach: itself and the IPv4 address inside it
    (IPv4-mapped, NAT64, 6to4, ISATAP). Each one must be outside all networks of the table. An IPv6 address must also
    be inside 2000::/3, the only block from which addresses of hosts are assigned.

Invariants:
    - Text that is not an IP address, an address with a zone (`%eth0`) and Teredo are never public.
    - An entry of the registries is refused even if the registry marks it as globally reachable: such entries (AS112,
      AMT, PCP, TURN) are anycast services that the local network may answer itself.

Failure modes:
    - A NAT64 prefix that a network chose itself (RFC 6052, section 2.2) is not recognisable, and counts as an ordinary
      address.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final

NOT_PUBLIC_IPV4: Final[Mapping[IPv4Network, str]] = {
    IPv4Network("0.0.0.0/8"): "this network: RFC 791, RFC 1122",
    IPv4Network("10.0.0.0/8"): "private use: RFC 1918",
    IPv4Network("100.64.0.0/10"): "shared address space of carriers: RFC 6598",
    IPv4Network("127.0.0.0/8"): "loopback: RFC 1122",
    IPv4Network("169.254.0.0/16"): "link local: RFC 3927",
    IPv4Network("172.16.0.0/12"): "private use: RFC 1918",
    IPv4Network("192.0.0.0/24"): "protocol assignments: RFC 6890, RFC 7335, RFC 7600, RFC 7723, RFC 8155, RFC 8880",
    IPv4Network("192.0.2.0/24"): "documentation: RFC 5737",
    IPv4Network("192.31.196.0/24"): "AS112: RFC 7535",
    IPv4Network("192.52.193.0/24"): "AMT: RFC 7450",
    IPv4Network("192.88.99.0/24"): "6to4 relays, deprecated: RFC 7526; 6a44 relays: RFC 6751",
    IPv4Network("192.168.0.0/16"): "private use: RFC 1918",
    IPv4Network("192.175.48.0/24"): "AS112, direct delegation: RFC 7534",
    IPv4Network("198.18.0.0/15"): "benchmarks: RFC 2544",
    IPv4Network("198.51.100.0/24"): "documentation: RFC 5737",
    IPv4Network("203.0.113.0/24"): "documentation: RFC 5737",
    IPv4Network("224.0.0.0/4"): "multicast: RFC 5771",
    IPv4Network("240.0.0.0/4"): "reserved: RFC 1112; limited broadcast: RFC 919, RFC 8190",
}
"""IANA IPv4 Special-Purpose Address Registry (RFC 6890, RFC 8190), and multicast."""

NOT_PUBLIC_IPV6: Final[Mapping[IPv6Network, str]] = {
    IPv6Network("2001::/23"): "IETF protocol assignments: RFC 2928; Teredo: RFC 4380; benchmarks: RFC 5180; "
    "ORCHID: RFC 4843, RFC 7343; DRIP: RFC 9374; anycast: RFC 7450, RFC 7535, RFC 7723, RFC 8155, RFC 9665",
    IPv6Network("2001:db8::/32"): "documentation: RFC 3849",
    IPv6Network("2620:4f:8000::/48"): "AS112, direct delegation: RFC 7534",
    IPv6Network("3ffe::/16"): "6bone, returned: RFC 3701",
    IPv6Network("3fff::/20"): "documentation: RFC 9637",
}
"""The entries inside 2000::/3 of the IANA IPv6 Special-Purpose Address Registry (RFC 6890, RFC 8190), and 6bone.

The other entries (RFC 3879, RFC 4193, RFC 4291, RFC 6666, RFC 8215, RFC 9602, RFC 9780) are outside 2000::/3.
"""

GLOBAL_UNICAST: Final = IPv6Network("2000::/3")
"""RFC 4291, RFC 3587, and the IANA registry of the IPv6 address space."""

MAPPED: Final = IPv6Network("::ffff:0:0/96")
"""An IPv4 address in the form of an IPv6 address: RFC 4291. The last 32 bits are the IPv4 address."""

NAT64: Final = IPv6Network("64:ff9b::/96")
"""The well-known prefix of IPv4/IPv6 translators: RFC 6052. The last 32 bits are the IPv4 address."""

SIX_TO_FOUR: Final = IPv6Network("2002::/16")
"""6to4: RFC 3056. The 32 bits after the prefix are the IPv4 address of the router."""

ISATAP: Final = (b"\x00\x00\x5e\xfe", b"\x02\x00\x5e\xfe")
"""First half of an ISATAP interface identifier: RFC 5214. The last 32 bits are the IPv4 address."""

_LOOPBACK = (IPv4Network("127.0.0.0/8"), IPv6Network("::1/128"))


def is_public(text: str) -> bool:
    """Return whether every address that this text can lead to is on the public internet.

    Args:
        text: an IPv4 or IPv6 address. A host name is not public: resolve it first.
    """
    try:
        address = ip_address(text)
    except ValueError:
        return False
    return all(_is_open(reached) for reached in _reached(address))


def is_loopback(text: str) -> bool:
    """Return whether this text is a loopback address (127.0.0.0/8 or ::1)."""
    try:
        address = ip_address(text)
    except ValueError:
        return False
    return not _has_zone(address) and any(address in network for network in _LOOPBACK)


def _is_open(address: IPv4Address | IPv6Address) -> bool:
    if isinstance(address, IPv4Address):
        return not any(address in network for network in NOT_PUBLIC_IPV4)
    if _has_zone(address) or address not in GLOBAL_UNICAST:
        return False
    return not any(address in network for network in NOT_PUBLIC_IPV6)


def _reached(address: IPv4Address | IPv6Address) -> list[IPv4Address | IPv6Address]:
    if isinstance(address, IPv4Address) or _has_zone(address):
        return [address]
    last = IPv4Address(address.packed[12:])
    if address in MAPPED or address in NAT64:
        return [last]
    reached: list[IPv4Address | IPv6Address] = [address]
    if address in SIX_TO_FOUR:
        reached.append(IPv4Address(address.packed[2:6]))
    if address.packed[8:12] in ISATAP:
        reached.append(last)
    return reached


def _has_zone(address: IPv4Address | IPv6Address) -> bool:
    return isinstance(address, IPv6Address) and address.scope_id is not None
