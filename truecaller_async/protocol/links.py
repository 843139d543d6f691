"""Decide whether a link that the server sent may be followed.

Purpose:
    The answer to an export is a link. A link to a wrong host would reveal the caller's address and return the file of
    another party. A link to this machine or its network would turn the package into a tool of an attacker.

Algorithm:
    A link is followed only if it has a plain form and leads to a known host: the host of the API, a host below
    `truecaller.com`, or a host that the caller named.

Invariants:
    - The plain form is narrower than the URL syntax, because URL parsers disagree about the rest: no user and
      password, no backslash, no fragment, ASCII only, https only (http only to this machine), and the usual port
      unless the caller named the host with its port. All parsers read such a URL in the same way.
    - A link is a `Secret`, because it is enough to fetch the file.
"""

from __future__ import annotations

import re
from collections.abc import Collection

import attrs

from truecaller_async.errors import ConfigError, DecodeError
from truecaller_async.models import Problem, Secret
from truecaller_async.redaction import shown_value

HOST = r"(?P<name>[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?|\[[0-9a-f:]{2,39}\])(?::(?P<port>[0-9]{1,5}))?"
BARE_HOST = re.compile(HOST, re.ASCII | re.IGNORECASE)
LINK = re.compile(rf"(?P<scheme>https?)://{HOST}(?:[/?][!-~]*)?", re.ASCII | re.IGNORECASE)
AMBIGUOUS = re.compile(r"[\\#]")
"""Characters that URL parsers treat differently."""

LINK_MAX_CHARS = 8192
"""Longest link. Signed links have 1,000 to 2,000 characters."""

TRUSTED_SUFFIX = ".truecaller.com"
LOOPBACK_HOSTS = frozenset({"127.0.0.1", "localhost", "[::1]"})
HTTP_PORT = 80
HTTPS_PORT = 443
PORT_MAX = 65535


@attrs.frozen
class Host:
    """Host and port of a link."""

    name: str
    """Host name or IP address, in lower case."""
    port: int
    """TCP port."""

    def __str__(self) -> str:
        return self.name if self.port == HTTPS_PORT else f"{self.name}:{self.port}"


def check_hosts(hosts: object) -> Problem | None:
    """Return a problem unless the value is a collection of host names.

    Args:
        hosts: texts such as "files.example" or "files.example:8443".
    """
    if isinstance(hosts, str | bytes) or not isinstance(hosts, Collection):
        return Problem("hosts", "hosts.type", "is no list of host names", shown_value(hosts), 'give ["files.example"]')
    for host in hosts:
        if not isinstance(host, str) or _host(BARE_HOST.fullmatch(host), HTTPS_PORT) is None:
            hint = 'give the bare name, such as "files.example", and its port unless it is 443'
            return Problem("hosts", "hosts.form", "is no host name", shown_value(host), hint)
    return None


def check_link(link: Secret, base_url: str, hosts: Collection[str]) -> Host:
    """Return the host of a link that may be followed.

    Args:
        link: the link of the answer.
        base_url: URL of the API.
        hosts: further hosts that the caller allows, as `check_hosts` accepts them.

    Raises:
        DecodeError: The link does not have the plain form.
        ConfigError: The link leads to a host that is not allowed.
    """
    host = _host_of(link.reveal())
    if host is None:
        raise DecodeError(
            "the link in the answer was not followed: it is not of the plain form https://host/path "
            "(no user, no backslash, no fragment, ASCII only; http only to this machine)"
        )
    allowed = {_host_of(base_url), *(_host(BARE_HOST.fullmatch(name), HTTPS_PORT) for name in hosts)}
    if host in allowed or (host.port == HTTPS_PORT and host.name.endswith(TRUSTED_SUFFIX)):
        return host
    raise ConfigError(
        f"the link in the answer was not followed: it leads to {host}, and files are fetched only from the host of "
        f"the API and from hosts below {TRUSTED_SUFFIX[1:]}; if you trust this host, allow it with hosts=['{host}']"
    )


def _host_of(url: str) -> Host | None:
    """Return the host of a URL in the plain form; None for any other URL."""
    found = LINK.fullmatch(url) if len(url) <= LINK_MAX_CHARS and not AMBIGUOUS.search(url) else None
    if found is None:
        return None
    if found["scheme"].lower() == "https":
        return _host(found, HTTPS_PORT)
    return _host(found, HTTP_PORT) if found["name"].lower() in LOOPBACK_HOSTS else None


def _host(found: re.Match[str] | None, default_port: int) -> Host | None:
    if found is None:
        return None
    port = int(found["port"] or default_port)
    return Host(found["name"].lower(), port) if 0 < port <= PORT_MAX else None
