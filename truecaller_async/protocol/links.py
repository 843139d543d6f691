"""A link that the server sent us, and may we follow it?

An export is answered with a link, and a link is an order to connect to somebody: to the wrong host, it would carry our
address there and bring a stranger's file back; to this machine or a neighbour's, it would use us as a tool. So a link
is followed only if it has a plain form and leads to a host that is known: the API's own, one below `truecaller.com`, or
one that the caller named.

The form is narrower than what URLs may be, because two readers of one URL disagree exactly about the rest: no user and
password, no backslash, no fragment, no character beyond ASCII, no port but the usual one (unless the caller named it
with its port). Only https, except to this machine. What passes is read the same way by every reader.

A link is kept as a `Secret`: whoever has it can fetch the file.
"""

from __future__ import annotations

import re
from collections.abc import Collection

import attrs

from truecaller_async.errors import ConfigError, DecodeError
from truecaller_async.models import Problem, Secret
from truecaller_async.protocol.arguments import shown_value

HOST = r"(?P<name>[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?|\[[0-9a-f:]{2,39}\])(?::(?P<port>[0-9]{1,5}))?"
NAMED = re.compile(HOST, re.ASCII | re.IGNORECASE)
LINK = re.compile(rf"(?P<scheme>https?)://{HOST}(?:[/?][!-~]*)?", re.ASCII | re.IGNORECASE)
DOUBTFUL = re.compile(r"[\\#]")
LINK_MAX = 8192
"""Characters of a link; signed ones have a thousand or two."""

TRUSTED = ".truecaller.com"
LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]"})
HTTPS_PORT = 443
PORT_MAX = 65535


@attrs.frozen
class Host:
    """Where a link leads."""

    name: str
    port: int

    def __str__(self) -> str:
        return self.name if self.port == HTTPS_PORT else f"{self.name}:{self.port}"


def check_hosts(hosts: object) -> Problem | None:
    """Whether these are names of hosts: a collection of texts such as "files.example" or "files.example:8443"."""
    if isinstance(hosts, str | bytes) or not isinstance(hosts, Collection):
        return Problem("hosts", "hosts.type", "is no list of host names", shown_value(hosts), 'give ["files.example"]')
    for host in hosts:
        if not isinstance(host, str) or _host(NAMED.fullmatch(host), HTTPS_PORT) is None:
            hint = 'give the bare name, such as "files.example", and its port where that is not 443'
            return Problem("hosts", "hosts.form", "is no host name", shown_value(host), hint)
    return None


def check_link(link: Secret, base_url: str, hosts: Collection[str]) -> Host:
    """The host of a link that may be followed. `base_url` is the API's; `hosts` are those that the caller allows.

    Raises `DecodeError` where the link is not of the plain form, `ConfigError` where it leads to a host that is not
    allowed.
    """
    host = _host_of(link.reveal())
    if host is None:
        raise DecodeError(
            "the link in the answer was not followed: it is not of the plain form https://host/path "
            "(no user, no backslash, no fragment, ASCII only; http only to this machine)"
        )
    allowed = {_host_of(base_url), *(_host(NAMED.fullmatch(name), HTTPS_PORT) for name in hosts)}
    if host in allowed or (host.port == HTTPS_PORT and host.name.endswith(TRUSTED)):
        return host
    raise ConfigError(
        f"the link in the answer leads to {host}, and was not followed: files are fetched from the API's own host and "
        f"from hosts below {TRUSTED[1:]}; if you trust this one, allow it with hosts=['{host}']"
    )


def _host_of(url: str) -> Host | None:
    """The host of a URL in the plain form, None for any other."""
    found = LINK.fullmatch(url) if len(url) <= LINK_MAX and not DOUBTFUL.search(url) else None
    if found is None:
        return None
    if found["scheme"].lower() == "https":
        return _host(found, HTTPS_PORT)
    return _host(found, 80) if found["name"].lower() in LOOPBACK else None


def _host(found: re.Match[str] | None, usual_port: int) -> Host | None:
    if found is None:
        return None
    port = int(found["port"] or usual_port)
    return Host(found["name"].lower(), port) if 0 < port <= PORT_MAX else None
