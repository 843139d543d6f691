"""Public addresses: the table of networks, and IPv4 addresses inside IPv6 addresses."""

from __future__ import annotations

import ipaddress
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from truecaller_async.transport.addresses import (
    GLOBAL_UNICAST,
    NOT_PUBLIC_IPV4,
    NOT_PUBLIC_IPV6,
    is_loopback,
    is_public,
)

PUBLIC, PUBLIC_6 = "8.8.4.4", "2001:4860:4860::8844"

INTERNAL = [
    ("0.0.0.0", "0.255.255.255"),  # noqa: S104 - a bound of a range
    ("10.0.0.0", "10.255.255.255"),
    ("100.64.0.0", "100.127.255.255"),
    ("127.0.0.0", "127.255.255.255"),
    ("169.254.0.0", "169.254.255.255"),
    ("172.16.0.0", "172.31.255.255"),
    ("192.0.0.0", "192.0.0.255"),
    ("192.0.2.0", "192.0.2.255"),
    ("192.88.99.0", "192.88.99.255"),
    ("192.168.0.0", "192.168.255.255"),
    ("198.18.0.0", "198.19.255.255"),
    ("198.51.100.0", "198.51.100.255"),
    ("203.0.113.0", "203.0.113.255"),
    ("224.0.0.0", "255.255.255.255"),
]
"""Ranges that a connection must never reach, written independently of the tested table."""

ANYCAST = [
    ("192.31.196.0", "192.31.196.255"),
    ("192.52.193.0", "192.52.193.255"),
    ("192.175.48.0", "192.175.48.255"),
]
"""Services of the registry that the local network may answer itself."""

REFUSED = [(int(IPv4Address(first)), int(IPv4Address(last))) for first, last in INTERNAL + ANYCAST]
EDGES = sorted({edge for first, last in REFUSED for edge in (first - 1, first, last, last + 1) if 0 <= edge < 2**32})

internal = st.sampled_from(REFUSED).flatmap(lambda bounds: st.integers(*bounds)).map(IPv4Address)
any_ipv4 = (st.integers(0, 2**32 - 1) | st.sampled_from(EDGES)).map(IPv4Address)
any_ipv6 = st.integers(0, 2**128 - 1).map(IPv6Address)
global_ipv6 = st.integers(int(GLOBAL_UNICAST.network_address), int(GLOBAL_UNICAST.broadcast_address)).map(IPv6Address)
TABLE: list[IPv4Network | IPv6Network] = [*NOT_PUBLIC_IPV4, *NOT_PUBLIC_IPV6]
listed = st.sampled_from(TABLE).flatmap(
    lambda network: st.integers(0, network.num_addresses - 1).map(lambda offset: network[offset])
)


def carriers(inside: IPv4Address) -> list[IPv6Address]:
    """Return the IPv6 addresses that contain this IPv4 address."""
    number, site = int(inside), int(IPv6Address(PUBLIC_6)) >> 64 << 64
    return [
        IPv6Address(0xFFFF << 32 | number),
        IPv6Address(0x64FF9B << 96 | number),
        IPv6Address(0x2002 << 112 | number << 80 | 1),
        IPv6Address(site | 0x5EFE << 32 | number),
        IPv6Address(site | 0x2005EFE << 32 | number),
        IPv6Address(0x2002 << 112 | int(IPv4Address(PUBLIC)) << 80 | 0x5EFE << 32 | number),
    ]


@pytest.mark.parametrize(
    "address", [PUBLIC, "1.1.1.1", PUBLIC_6, f"::ffff:{PUBLIC}", f"64:ff9b::{PUBLIC}", "2002:0808:0404::1"]
)
def test_internet_address_is_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.8.8.8",
        "0.0.0.0",  # noqa: S104 - an address to be refused
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "192.0.2.7",
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1",
        "fe80::1%eth0",
        "fd00::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::127.0.0.1",
        "64:ff9b::a9fe:a9fe",
        "2002:7f00:0001::1",
        "2002:0a00:0001::1",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",
        f"{PUBLIC_6}%eth0",
        "2002:0808:0404::5efe:127.0.0.1",
        "::127.0.0.1",
        "::169.254.169.254",
        "::ffff:0:127.0.0.1",
        "64:ff9b:1::127.0.0.1",
        "2001:4860:4860::5efe:127.0.0.1",
        "2001:4860:4860:0:200:5efe:10.0.0.1",
        "fec0::1",
        "200::1",
        "3fff::1",
        "5f00::1",
        "192.0.0.8",
        "192.88.99.1",
        "192.0.0.9",
        "192.31.196.1",
        "192.52.193.1",
        "192.175.48.1",
        "198.18.0.1",
        "198.51.100.1",
        "203.0.113.1",
        "240.0.0.1",
        "2001:db8::1",
        "2001:20::1",
        "2001:1::1",
        "2620:4f:8000::1",
        "3ffe::1",
        "100::1",
        "localhost",
        "2130706433",
        "",
    ],
)
def test_address_private_in_any_notation_is_not_public(address: str) -> None:
    assert not is_public(address)


@given(listed)
def test_no_address_of_the_table_is_public(address: IPv4Address | IPv6Address) -> None:
    assert not is_public(str(address))


@given(internal)
def test_no_internal_address_is_public_in_any_form(address: IPv4Address) -> None:
    assert [str(form) for form in (address, *carriers(address)) if is_public(str(form))] == []


@given(any_ipv4)
def test_an_ipv4_address_is_public_if_and_only_if_it_is_outside_all_ranges(address: IPv4Address) -> None:
    expected = not any(first <= int(address) <= last for first, last in REFUSED)
    assert is_public(str(address)) is expected
    assert {is_public(str(form)) for form in carriers(address)} == {expected}


@given(any_ipv6)
def test_ipv6_outside_global_unicast_is_public_only_by_embedded_ipv4(
    address: IPv6Address,
) -> None:
    if is_public(str(address)):
        assert address in GLOBAL_UNICAST or address in carriers(IPv4Address(int(address) & 0xFFFFFFFF))[:2]


@given(global_ipv6)
def test_a_zone_is_never_public(address: IPv6Address) -> None:
    assert not is_public(f"{address}%eth0")


def test_the_interpreter_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(_: object) -> bool:
        raise AssertionError("the answer of `ipaddress` differs between releases of Python")

    public = [PUBLIC, PUBLIC_6, *map(str, carriers(IPv4Address(PUBLIC)))]
    private = ["10.0.0.1", "::1", *map(str, carriers(IPv4Address("10.0.0.1")))]
    for kind in (ipaddress.IPv4Address, ipaddress.IPv6Address):
        for name in dir(kind):
            if name.startswith("is_") or name in {"ipv4_mapped", "sixtofour", "teredo"}:
                monkeypatch.setattr(kind, name, property(ask))
    assert all(map(is_public, public))
    assert not any(map(is_public, private))
    assert is_loopback("::1")


@pytest.mark.parametrize("address", ["127.0.0.1", "127.255.255.255", "::1"])
def test_a_loopback_address_is_recognised(address: str) -> None:
    assert is_loopback(address)


@pytest.mark.parametrize(
    "address", ["::ffff:127.0.0.1", "::1%lo", "::2", "::", "128.0.0.1", "10.0.0.1", PUBLIC, PUBLIC_6, "localhost", ""]
)
def test_every_other_text_is_no_loopback_address(address: str) -> None:
    assert not is_loopback(address)
