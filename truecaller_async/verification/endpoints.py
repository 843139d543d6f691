r"""Check whether the profile address in a callback may be fetched. No I/O.

Callbacks are not signed, so `endpoint` is an untrusted address that would receive an access token (server-side request
forgery).

Invariants:
    - Allowed: https, a host of the list, port 443, a path below `/v1/`, at most 512 printable ASCII characters. Not
      allowed: `\`, `@` and `#`, which URL parsers interpret differently.
    - One regular expression parses the address. The request is built from the parts that it matched, so no second
      parser can interpret the text differently. The host must be equal to an entry of the list.
    - After this check the name is resolved, and each address must be public (`transport.pinned_dns`).
    - `allow_loopback` is for tests: hosts have a port, plain http is allowed, and only loopback addresses are connected
      to. If it is set in production, every check of a public host fails, so no token is sent.
"""

from __future__ import annotations

import re

import attrs

from truecaller_async.errors import ConfigError, ValidationError
from truecaller_async.models import Problem
from truecaller_async.redaction import shown_value

PROFILE_HOSTS = ("profile4-noneu.truecaller.com",)
"""The only documented host. If Truecaller names others, give them as `Endpoints(hosts=...)`."""

ENDPOINT_MAX_CHARS = 512
HTTPS_PORT = 443
PORT_MAX = 65535

PRINTABLE_ASCII = re.compile(r"[!-~]*", re.ASCII)
AMBIGUOUS_CHARACTERS = re.compile(r"[\\@#]")
ENDPOINT_FORM = re.compile(
    r"(?P<scheme>https?)://(?P<host>[a-z0-9.-]{1,253})(?::(?P<port>[1-9][0-9]{0,4}))?"
    r"(?P<path>/v1/(?:[A-Za-z0-9._~-]+(?:/[A-Za-z0-9._~-]+)*/?)?)(?P<query>\?[A-Za-z0-9._~=&%+,:-]*)?",
    re.ASCII,
)
DOT_SEGMENT = re.compile(r"/\.{1,2}(?:/|$)")
"""A path segment `.` or `..`."""
HOST_FORM = re.compile(
    r"(?P<host>[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*)(?::(?P<port>[1-9][0-9]{0,4}))?",
    re.ASCII,
)


@attrs.frozen
class Endpoint:
    """A checked address."""

    scheme: str
    """"https", or "http" with `allow_loopback`."""
    host: str
    """Host name, without port."""
    port: int
    """Port number."""
    target: str
    """Path and query."""


@attrs.frozen
class Endpoints:
    """The addresses that a callback may name.

    Raises:
        ConfigError: A host has the wrong form, or a port without `allow_loopback`.
    """

    hosts: tuple[str, ...] = PROFILE_HOSTS
    """Exact host names in lower case."""
    allow_loopback: bool = False
    """For tests: each host has a port, such as "127.0.0.1:8080", and only loopback addresses are connected to."""

    def __attrs_post_init__(self) -> None:
        if isinstance(self.hosts, str) or not self.hosts:
            raise ConfigError(f"Endpoints.hosts must be a tuple of host names, such as {PROFILE_HOSTS!r}")
        for host in self.hosts:
            self._check_host(host)

    def _check_host(self, host: object) -> None:
        found = HOST_FORM.fullmatch(host) if isinstance(host, str) else None
        if found is None or int(found["port"] or HTTPS_PORT) > PORT_MAX:
            raise ConfigError(
                f"Endpoints.hosts has {shown_value(host)}: give a host name in lower case, without a scheme"
            )
        if bool(found["port"]) is not self.allow_loopback:
            raise ConfigError(
                f"Endpoints.hosts has {shown_value(host)}: a port is required with allow_loopback=True, and not "
                "allowed otherwise. allow_loopback is for tests; a real endpoint has port 443"
            )

    def check(self, endpoint: str) -> Endpoint:
        """Check an address from a callback. Does not connect.

        Args:
            endpoint: The address, untrusted.

        Returns:
            Its parts.

        Raises:
            ValidationError: The address is not allowed.
        """
        found = _match(endpoint)
        port = int(found["port"] or (HTTPS_PORT if found["scheme"] == "https" else 80))
        named = f"{found['host']}:{port}" if self.allow_loopback else found["host"]
        if named not in self.hosts:
            hint = "if the host belongs to Truecaller, add it to Endpoints(hosts=...)"
            raise _error("host", "names a host that is not in the list", shown_value(named), hint)
        if not self.allow_loopback and (found["scheme"] != "https" or port != HTTPS_PORT):
            raise _error("https", "is not https on port 443", f"{found['scheme']} {port}")
        return Endpoint(found["scheme"], found["host"], port, found["path"] + (found["query"] or ""))


def _match(endpoint: str) -> re.Match[str]:
    if len(endpoint) > ENDPOINT_MAX_CHARS:
        raise _error("length", f"is longer than {ENDPOINT_MAX_CHARS} characters", str(len(endpoint)))
    if not PRINTABLE_ASCII.fullmatch(endpoint) or AMBIGUOUS_CHARACTERS.search(endpoint):
        raise _error(
            "characters", "contains a character that is not printable ASCII, or one of \\ @ #", shown_value(endpoint)
        )
    found = ENDPOINT_FORM.fullmatch(endpoint)
    if found is None or DOT_SEGMENT.search(found["path"]):
        raise _error("form", "is not of the form https://host/v1/...", shown_value(endpoint))
    return found


def _error(rule: str, message: str, value: str, hint: str = "nothing was sent") -> ValidationError:
    return ValidationError([Problem("endpoint", f"endpoint.{rule}", message, value, hint)])
